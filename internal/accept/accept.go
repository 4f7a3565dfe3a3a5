package accept

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/deliver"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// MaxRecipients is the most recipients (To, Cc and Bcc together) of a message.
// ses-guide:quotas
const MaxRecipients = 50

// Options are what a Door needs. Store, Clock, Outbox, Identities, Accounts and
// Logger are required.
type Options struct {
	Store      store.Store
	Clock      *clock.Clock
	Outbox     *publish.Outbox
	Identities *store.Documents[sestina.Identity]
	Accounts   *store.Documents[sestina.Account]
	Logger     *slog.Logger

	// AnySender accepts senders without a verified identity (dev option).
	AnySender bool
	// ByteBudget bounds the bytes of messages being accepted at one time;
	// further ones wait, then are told that the service is busy. 0 means 256 MB.
	ByteBudget int64
}

// A Door accepts mail. It may be used concurrently.
type Door struct {
	Options
	budget *semaphore.Weighted
}

// New returns a Door.
func New(o Options) *Door {
	if o.ByteBudget <= 0 {
		o.ByteBudget = 256 << 20
	}
	return &Door{Options: o, budget: semaphore.NewWeighted(o.ByteBudget)}
}

// A Submission is a message as an interface took it in. Exactly one of Raw and
// Formatted is set.
type Submission struct {
	Scope      sestina.Scope
	Operation  string     // the call, for the tag ses:operation: SendEmail, SendRawEmail, SendSmtpEmail
	UserName   string     // who called, for ses:caller-identity; "root" for the account itself
	SourceIP   netip.Addr // of the client
	TLSVersion string     // of the client's connection, such as TLSv1.3, or ""

	// ConfigurationSet and Tags come from API parameters. Empty ones let the
	// X-SES headers of a raw message speak; parameters win, and the two are
	// never merged. ses-guide:event-publishing-send-email
	ConfigurationSet string
	Tags             []sestina.Tag

	// Source is the sender as the interface was told (v1 Source, v2
	// FromEmailAddress, SMTP MAIL FROM); empty takes the From header.
	Source string
	// Destinations are the envelope recipients; nil takes the headers To, Cc
	// and Bcc of a raw message.
	Destinations []string
	// ReturnPath is where feedback by email goes; empty means the sender.
	ReturnPath string

	Raw       []byte          // not changed, but kept until Accept returns
	Formatted *message.Simple // its Seed is set here

	// MaxBytes is the interface's size limit for the whole message.
	MaxBytes int64
}

// Accept checks and stores one message. It returns the SES message id once the
// message is durable. Refusals are *sestina.Error and leave no trace; when the
// store cannot take it now the error is store.ErrUnavailable.
func (d *Door) Accept(ctx context.Context, s Submission) (string, error) {
	release, err := d.reserve(ctx, &s)
	if err != nil {
		return "", err
	}
	defer release()

	now := d.Clock.Now()
	dr := &draft{Submission: s, now: now, id: d.Outbox.IDs.New(now)}
	dr.messageID = sestina.MessageID(dr.id, s.Scope.Region)

	if err := dr.read(); err != nil {
		return "", err
	}
	if err := d.learn(ctx, dr); err != nil {
		return "", err
	}
	if err := d.chooseSet(ctx, dr); err != nil {
		return "", err
	}
	if err := d.checkSending(dr); err != nil {
		return "", err
	}
	if err := d.checkIdentities(dr); err != nil {
		return "", err
	}
	if err := d.write(ctx, dr); err != nil {
		return "", err
	}
	return dr.messageID, nil
}

// reserve takes the submission's bytes from the budget, waiting while ctx
// lasts, at most 10 s.
func (d *Door) reserve(ctx context.Context, s *Submission) (func(), error) {
	size := int64(len(s.Raw))
	if s.Formatted != nil {
		size = formattedSize(s.Formatted)
	}
	if s.MaxBytes > 0 && size > s.MaxBytes {
		return nil, tooLong(size, s.MaxBytes)
	}
	size = min(max(size, 1), d.ByteBudget)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := d.budget.Acquire(ctx, size); err != nil {
		return nil, fmt.Errorf("accept message: %d bytes of other messages are being accepted: %w", d.ByteBudget, store.ErrUnavailable)
	}
	return func() { d.budget.Release(size) }, nil
}

func formattedSize(f *message.Simple) int64 {
	n := int64(len(f.Subject.Data))
	for _, c := range []*message.Content{f.Text, f.HTML} {
		if c != nil {
			n += int64(len(c.Data))
		}
	}
	for _, a := range f.Attachments {
		n += int64(len(a.Data)) * 4 / 3
	}
	return n
}

func tooLong(size, limit int64) error {
	return invalid("Message length is more than %d bytes long: '%d'.", limit, size)
}

// invalid is SES's answer to input that is wrong in itself.
func invalid(format string, args ...any) error {
	return sestina.SESErrorf("InvalidParameterValue", "BadRequestException", format, args...)
}

// learn reads identities of the senders that this node has not heard of yet
// from the store, if other nodes use that too. After the first sender without
// a verified identity the answer is clear.
func (d *Door) learn(ctx context.Context, dr *draft) error {
	for _, addr := range dr.senders {
		if d.verified(dr.Scope, addr) != "" {
			continue
		}
		for _, n := range sestina.MatchIdentity(addr) {
			if _, err := d.Identities.Find(ctx, dr.Scope, n); err != nil {
				return err
			}
		}
		if d.verified(dr.Scope, addr) == "" {
			return nil
		}
	}
	return nil
}

// chooseSet finds the configuration set: parameter, header, or the default of
// the identity, the address identity before its domain.
func (d *Door) chooseSet(ctx context.Context, dr *draft) (err error) {
	name, v2 := dr.ConfigurationSet, "NotFoundException"
	if name == "" {
		for _, n := range sestina.MatchIdentity(dr.senders[0]) {
			if id := d.Identities.Get(dr.Scope, n); id != nil && id.Verified && id.ConfigurationSet != "" {
				name, v2 = id.ConfigurationSet, "BadRequestException"
				break
			}
		}
	}
	if name == "" {
		return nil
	}
	if dr.set, err = d.Outbox.Sets.Find(ctx, dr.Scope, name); err != nil {
		return err
	}
	if dr.set == nil {
		return sestina.SESErrorf("ConfigurationSetDoesNotExist", v2, "Configuration set <%s> does not exist.", name)
	}
	return nil
}

func (d *Door) checkSending(dr *draft) error {
	if a := d.Accounts.Get(dr.Scope, AccountName); a != nil && a.SendingOff {
		return sestina.SESErrorf("AccountSendingPausedException", "SendingPausedException", "Account sending is disabled.")
	}
	if dr.set != nil && dr.set.SendingOff {
		return sestina.SESErrorf("ConfigurationSetSendingPausedException", "SendingPausedException",
			"Sending is paused for configuration set %s", dr.set.Name)
	}
	return nil
}

// AccountName is the name of the one document that holds an account's settings.
const AccountName = "settings"

// checkIdentities requires a verified identity for every address that the
// message names as a sender: the From and Sender headers, the source, and the
// return path. ses-guide:verify-addresses-and-domains
func (d *Door) checkIdentities(dr *draft) error {
	dr.identity = d.verified(dr.Scope, dr.senders[0])
	if d.AnySender {
		if dr.identity == "" {
			dr.identity = message.Domain(dr.senders[0])
		}
		return nil
	}
	var failed []string
	for _, addr := range dr.senders {
		if d.verified(dr.Scope, addr) == "" {
			failed = append(failed, addr)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return sestina.SESErrorf("MessageRejected", "MessageRejected",
		"Email address is not verified. The following identities failed the check in region %s: %s",
		strings.ToUpper(dr.Scope.Region), listed(failed))
}

// maxFailed is how many identities a refusal lists before it is cut with dots.
const maxFailed = 10

func listed(names []string) string {
	if len(names) > maxFailed {
		names = append(slices.Clone(names[:maxFailed]), "...")
	}
	return strings.Join(names, ", ")
}

// verified returns the most specific verified identity of an address, or "".
func (d *Door) verified(s sestina.Scope, addr string) string {
	for _, n := range sestina.MatchIdentity(addr) {
		if id := d.Identities.Get(s, n); id != nil && id.Verified {
			return n
		}
	}
	return ""
}

// write commits the message with all that follows from it.
func (d *Door) write(ctx context.Context, dr *draft) error {
	effects, err := d.effects(ctx, dr)
	if err != nil {
		return err
	}
	if err := d.Store.Do(ctx, &store.Write{Effects: effects, Accepting: true}); err != nil {
		return fmt.Errorf("accept message %s: %w", dr.messageID, err)
	}
	set := ""
	if dr.set != nil {
		set = dr.set.Name
	}
	d.Logger.LogAttrs(ctx, slog.LevelInfo, "accepted",
		slog.String("message", dr.messageID), slog.String("operation", dr.Operation), slog.String("set", set),
		slog.String("identity", dr.identity), slog.Int("recipients", len(dr.recipients)), slog.Int64("bytes", dr.msg.Size()))
	return nil
}

// effects are the rows of a message: itself with its staged body, its
// deliveries, its Send event and that event's publications.
func (d *Door) effects(ctx context.Context, dr *draft) (store.Effects, error) {
	var e store.Effects
	mail, err := dr.mail()
	if err != nil {
		return e, fmt.Errorf("accept message %s: %w", dr.messageID, err)
	}
	m := store.Message{
		ID: dr.id, Scope: dr.Scope, Identity: dr.identity, Source: dr.Source, ReturnPath: dr.ReturnPath,
		Recipients: dr.recipients, Subject: dr.common.Subject, Mail: mail, Size: dr.msg.Size(), Payload: []byte(`{"v":1}`),
	}
	pool := ""
	if dr.set != nil {
		m.ConfigurationSet = dr.set.Name
		if dr.set.Delivery != nil {
			pool = dr.set.Delivery.SendingPoolName
		}
	}
	body, err := d.Store.Stage(ctx, dr.id, m.Size, dr.msg.Reader())
	if err != nil {
		return e, fmt.Errorf("stage body of message %s: %w", dr.messageID, err)
	}
	e.Messages = []store.NewMessage{{Message: m, Body: body}}
	e.Units = deliver.NewUnits(d.Outbox.IDs, &m, pool, dr.recipients, dr.now)
	return e, d.Outbox.Add(&e, &m, sestina.Send, dr.now, event.Send{}, nil)
}

// Notice makes a message of Sestina's own (a topic's email notification) and
// returns it as effects for the caller's command. It needs no identity and has
// no configuration set, so that notices about events cause no events.
func (d *Door) Notice(ctx context.Context, scope sestina.Scope, f message.Simple) (store.Effects, error) {
	now := d.Clock.Now()
	dr := &draft{now: now, id: d.Outbox.IDs.New(now), Submission: Submission{
		Scope: scope, Operation: "SendEmail", UserName: "sestina", Source: f.From.String(), Formatted: &f,
	}}
	for _, a := range f.To {
		dr.Destinations = append(dr.Destinations, a.Addr())
	}
	dr.messageID = sestina.MessageID(dr.id, scope.Region)
	if err := dr.read(); err != nil {
		return store.Effects{}, err
	}
	dr.identity = message.Domain(dr.senders[0])
	return d.effects(ctx, dr)
}
