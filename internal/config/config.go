package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// A Mode is what the program runs as.
type Mode string

// The modes.
const (
	Dev   Mode = "dev"   // beside an application under development: no account, mail is captured
	Serve Mode = "serve" // as a sender in place of SES
)

// Config is the configuration of dev and serve. Every member is a flag; the
// environment variable is SESTINA_ and the flag's name in capitals, the key in
// the configuration file is the flag's name.
type Config struct {
	Data        string `help:"Folder that holds everything Sestina keeps." default:"./sestina-data" placeholder:"DIR"`
	HTTP        string `name:"http" help:"Address of the AWS APIs, the console and Sestina's own API. Port 0 picks a free one." default:"127.0.0.1:4579" placeholder:"ADDR"`
	SMTP        string `name:"smtp" help:"Address of SMTP submission: 127.0.0.1:1025 in dev, :587 in serve. Port 0 picks a free one." placeholder:"ADDR"`
	SMTPS       string `name:"smtps" help:"Address of SMTP submission with TLS from the start. None in dev, :465 in serve; 'none' turns it off." placeholder:"ADDR"`
	Relay       string `help:"Send all mail on to this SMTP host: smtp://[USER:PASSWORD@]HOST[:PORT], or smtps:// for TLS from the start." placeholder:"URL"`
	File        string `name:"config" help:"Configuration file (YAML: flag names as keys)." placeholder:"FILE" type:"path"`
	DatabaseURL string `name:"database-url" help:"PostgreSQL database (15 or newer) in place of the data folder's SQLite: postgres://USER:PASSWORD@HOST/NAME. Several nodes may share one; the data folder then holds only keys, and secret.key must be the same on all." placeholder:"URL"`

	PublicURL string   `name:"public-url" help:"Base of the URLs that Sestina hands out (SNS confirmations, certificates): how others reach the HTTP address. Default: http:// and the HTTP address." placeholder:"URL"`
	Account   string   `help:"The account id of keys that name none." default:"000000000000" placeholder:"ID"`
	Region    string   `help:"The region of SMTP and of calls that name none." default:"us-east-1" placeholder:"REGION"`
	Regions   []string `help:"Serve only these regions; default all." placeholder:"REGION"`
	Hostname  string   `help:"Name in the SMTP greeting and in reports. Default: email-smtp.REGION.amazonaws.com in the greeting, SES-like names in reports." placeholder:"NAME"`

	AnySender         bool            `name:"any-sender" help:"Accept senders without a verified identity."`
	RetrySchedule     []time.Duration `name:"retry-schedule" help:"Waits before the attempts after a temporary delivery failure; the last one repeats. Default: from 5s to 5m in dev, from 1m to 2h in serve." placeholder:"DURATION"`
	RetryWindow       time.Duration   `name:"retry-window" help:"How long delivery of a message is tried before it bounces." default:"14h"`
	PublishWindow     time.Duration   `name:"publish-window" help:"How long an event or notification is tried before it becomes a dead letter." default:"72h"`
	InboxMessages     int             `name:"inbox-messages" help:"How many messages the dev inbox keeps." default:"10000"`
	InboxBytes        int64           `name:"inbox-bytes" help:"How many bytes of messages the dev inbox keeps." default:"2147483648"`
	DiskReserve       int64           `name:"disk-reserve" help:"Free bytes on disk below which nothing new is accepted." default:"268435456"`
	MaxConnections    int             `name:"max-connections" help:"Most SMTP connections at a time." default:"1000"`
	AllowPrivate      bool            `name:"allow-private" help:"Let subscriptions and other outgoing HTTP reach private addresses (always so in dev)."`
	TrustedProxies    []netip.Prefix  `name:"trusted-proxies" help:"Networks whose X-Forwarded-For and X-Forwarded-Proto are believed." placeholder:"CIDR"`
	TLSCert           string          `name:"tls-cert" help:"Certificate chain (PEM) for HTTP and SMTP; read again when it changes. Default: a local CA, see ca.pem in the data folder." placeholder:"FILE" type:"path"`
	TLSKey            string          `name:"tls-key" help:"Private key (PEM) of the certificate." placeholder:"FILE" type:"path"`
	SNSSigningCert    string          `name:"sns-signing-cert" help:"Certificate (PEM) that signs SNS messages. Default: one made at the first start." placeholder:"FILE" type:"path"`
	SNSSigningKey     string          `name:"sns-signing-key" help:"Private RSA key (PEM) of the SNS signing certificate." placeholder:"FILE" type:"path"`
	LogLevel          string          `name:"log-level" help:"Least level that is logged, to standard error: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	LogFormat         string          `name:"log-format" help:"text or json." enum:"text,json" default:"text"`
	MetricsAddress    string          `name:"metrics" help:"Another address for /metrics, /healthz and /readyz alone." placeholder:"ADDR"`
	MaxBodiesInFlight int64           `name:"max-bodies-in-flight" help:"Bytes of request bodies being read or handled at one time; further requests are answered 503." default:"536870912"`

	Mode Mode `kong:"-"`
}

var regionForm = regexp.MustCompile(`^[a-zA-Z0-9-]{3,32}$`)

// Complete fills the defaults that depend on the mode and checks what can be
// checked without doing anything. The error names every fault it found.
func (c *Config) Complete(mode Mode) error {
	c.Mode = mode
	if c.SMTP == "" {
		c.SMTP = map[Mode]string{Dev: "127.0.0.1:1025", Serve: ":587"}[mode]
	}
	if c.SMTPS == "" && mode == Serve {
		c.SMTPS = ":465"
	}
	if c.SMTPS == "none" {
		c.SMTPS = ""
	}
	if mode == Dev {
		c.AllowPrivate = true
	}
	return c.check()
}

func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Account) != 12 || strings.Trim(c.Account, "0123456789") != "" {
		bad("account %q: an account id has 12 digits", c.Account)
	}
	if !regionForm.MatchString(c.Region) {
		bad("region %q: want a form like us-east-1", c.Region)
	}
	if c.DatabaseURL != "" && !strings.HasPrefix(c.DatabaseURL, "postgres://") && !strings.HasPrefix(c.DatabaseURL, "postgresql://") {
		bad("database-url: want postgres://USER:PASSWORD@HOST/NAME")
	}
	if c.Relay != "" {
		if u, err := url.Parse(c.Relay); err != nil || u.Host == "" || (u.Scheme != "smtp" && u.Scheme != "smtps") {
			bad("relay: want smtp://HOST:PORT or smtps://HOST:PORT")
		}
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			bad("public-url %q: want http://HOST or https://HOST", c.PublicURL)
		}
		c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("tls-cert and tls-key go together")
	}
	if (c.SNSSigningCert == "") != (c.SNSSigningKey == "") {
		bad("sns-signing-cert and sns-signing-key go together")
	}
	for _, d := range append(c.RetrySchedule, c.RetryWindow, c.PublishWindow) {
		if d <= 0 {
			bad("retry-schedule, retry-window and publish-window: durations must be greater than 0, not %s", d)
		}
	}
	return errors.Join(errs...)
}
