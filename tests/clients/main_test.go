package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// clientTime is how long one client's whole script may take.
const clientTime = 3 * time.Minute

// need returns the first of the programs that exists: names are looked up in
// the path, absolute ones as they are. Without any, the test is skipped, in CI
// it fails; tests/setup installs them all.
func need(t *testing.T, programs ...string) string {
	t.Helper()
	for _, p := range programs {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	missing(t, strings.Join(programs, " or "))
	return ""
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: tests/setup installs it", what)
	}
	t.Skipf("%s is missing: tests/setup installs it", what)
}

// A client is another program that talks to a running Sestina.
type client struct {
	name string
	args []string
	dir  string
	env  []string // added to a clean environment
}

// environment is what every client gets: credentials that dev accepts, and
// nothing from the machine's own AWS configuration.
func environment(extra ...string) []string {
	env := []string{
		"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
		"PATH=/usr/bin" + string(os.PathListSeparator) + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "NO_PROXY=127.0.0.1,localhost",
	}
	for _, keep := range []string{"HOME", "TMPDIR", "PERL5LIB"} {
		if v, ok := os.LookupEnv(keep); ok {
			env = append(env, keep+"="+v)
		}
	}
	return append(env, extra...)
}

// run runs the client to its end and returns what it wrote to standard output.
// The test fails, with all output, when the client does.
func (c client) run(t *testing.T) string {
	t.Helper()
	out, all, err := c.try(t.Context())
	if err != nil {
		t.Fatalf("%s %.200q: %v\n%s", c.name, c.args, err, all)
	}
	return out
}

func (c client) try(ctx context.Context) (stdout, all string, err error) {
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.name, c.args...)
	cmd.Dir, cmd.Env = c.dir, environment(c.env...)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &both
	err = cmd.Run()
	return out.String(), out.String() + both.String(), err
}

var ports = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// freePort returns a port that nobody listens on, for an address that has to be
// known before the program starts. It is below the range from which the system
// picks ports for others.
func freePort(t *testing.T) int {
	t.Helper()
	for port := 20000 + os.Getpid()%5000; port < 32000; port++ {
		ports.Lock()
		taken := ports.given[port]
		ports.given[port] = true
		ports.Unlock()
		if taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// A desk is a running Sestina with a topic and a configuration set that
// publishes all its events there.
type desk struct {
	*harness.Instance
	ses   *sesv2.Client
	sns   *sns.Client
	topic string
}

// newDesk starts Sestina with hooks that subscribe to the topic.
func newDesk(t *testing.T, args []string, hooks ...*harness.Hook) *desk {
	t.Helper()
	s := harness.Start(t, args...)
	d := &desk{Instance: s, ses: sesv2.NewFromConfig(s.AWS()), sns: sns.NewFromConfig(s.AWS())}
	ctx := t.Context()
	topic, err := d.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("events")})
	check(t, err)
	d.topic = *topic.TopicArn
	for _, h := range hooks {
		d.subscribe(t, h)
	}
	_, err = d.ses.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("spring")})
	check(t, err)
	_, err = d.ses.CreateConfigurationSetEventDestination(ctx, &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: aws.String("spring"), EventDestinationName: aws.String("all"),
		EventDestination: &types.EventDestinationDefinition{
			Enabled: true, MatchingEventTypes: []types.EventType{"SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "REJECT", "DELIVERY_DELAY"},
			SnsDestination: &types.SnsDestination{TopicArn: topic.TopicArn},
		},
	})
	check(t, err)
	_, err = d.ses.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	check(t, err)
	return d
}

func (d *desk) subscribe(t *testing.T, h *harness.Hook) {
	t.Helper()
	_, err := d.sns.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: aws.String(d.topic), Protocol: aws.String("http"), Endpoint: aws.String(h.URL)})
	check(t, err)
	h.WaitConfirmed()
}

// send sends a small message with the configuration set and returns its id.
func (d *desk) send(t *testing.T, to string) string {
	t.Helper()
	out, err := d.ses.SendEmail(t.Context(), &sesv2.SendEmailInput{
		ConfigurationSetName: aws.String("spring"), FromEmailAddress: aws.String("a@example.com"),
		Destination: &types.Destination{ToAddresses: []string{to}},
		Content: &types.EmailContent{Simple: &types.Message{
			Subject: &types.Content{Data: aws.String("hello")}, Body: &types.Body{Text: &types.Content{Data: aws.String("hello")}},
		}},
	})
	check(t, err)
	return *out.MessageId
}

// eventsOf returns the event types among records that are about a message,
// sorted.
func eventsOf(records []harness.Record, id string) []string {
	var out []string
	for _, r := range records {
		if r.Mail.MessageID == id {
			out = append(out, r.EventType)
		}
	}
	slices.Sort(out)
	return out
}

func wantEvents(t *testing.T, where string, records []harness.Record, id string, want ...string) {
	t.Helper()
	if got := eventsOf(records, id); !slices.Equal(got, want) {
		t.Errorf("%s: events of message %s: %v, want %v", where, id, got, want)
	}
}

// ownMessages asks Sestina's own API for captured messages.
func ownMessages(t *testing.T, s *harness.Instance, query string) []ownMessage {
	t.Helper()
	var out struct{ Messages []ownMessage }
	check(t, json.Unmarshal(s.Own(t.Context(), "GET", "messages?"+query, ""), &out))
	return out.Messages
}

type ownMessage struct {
	ID, From, Subject string
	Recipients        []string
	Tags              map[string][]string
	Events            []string
}

func script(t *testing.T, elem ...string) string {
	t.Helper()
	return filepath.Join(append([]string{harness.Root(), "tests", "clients"}, elem...)...)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
