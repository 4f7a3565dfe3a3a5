package accept_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/accept"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/deliver"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var scope = sestina.Scope{Account: "111122223333", Region: "eu-west-1"}

// A door is a Door on a real store. Identities: example.com with the default
// set "default", vip@example.com with "vip", org.example with a set that does
// not exist, pending.example not verified. Sets: "default", "vip", "s" with two
// destinations and a sending pool, "off" paused.
type door struct {
	*accept.Door
	accounts *store.Documents[sestina.Account]
}

func newDoor(tb testing.TB, change ...func(*accept.Options)) *door {
	tb.Helper()
	clk, log := clock.New(0), slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(context.Background(), sqlite.Options{Dir: tb.TempDir(), Reserve: -1, Clock: clk, Logger: log})
	check(tb, err)
	tb.Cleanup(func() { check(tb, st.Close()) })
	cache, ids := store.NewCache(st), new(sestina.IDs)
	sets := store.Register[sestina.ConfigurationSet](cache, "configuration-set")
	identities := store.Register[sestina.Identity](cache, "identity")
	accounts := store.Register[sestina.Account](cache, "account")
	for _, s := range []sestina.ConfigurationSet{
		{Name: "default"}, {Name: "vip"}, {Name: "off", SendingOff: true},
		{Name: "s", Delivery: &sestina.DeliveryOptions{SendingPoolName: "pool"}, Destinations: []sestina.EventDestination{
			{ID: ids.New(clk.Now()), Name: "one", Enabled: true, EventTypes: []sestina.EventType{sestina.Send}},
			{ID: ids.New(clk.Now()), Name: "two", Enabled: true, EventTypes: []sestina.EventType{sestina.Bounce, sestina.Send}},
		}},
	} {
		put(tb, sets, scope, s.Name, s)
	}
	for _, i := range []sestina.Identity{
		{Name: "example.com", Verified: true, ConfigurationSet: "default"}, {Name: "vip@example.com", Verified: true, ConfigurationSet: "vip"},
		{Name: "org.example", Verified: true, ConfigurationSet: "missing"}, {Name: "plain.example", Verified: true}, {Name: "pending.example", ConfigurationSet: "off"},
	} {
		put(tb, identities, scope, i.Name, i)
	}
	o := accept.Options{
		Store: st, Clock: clk, Outbox: &publish.Outbox{Sets: sets, IDs: ids}, Identities: identities, Accounts: accounts, Logger: log,
	}
	for _, fn := range change {
		fn(&o)
	}
	return &door{accept.New(o), accounts}
}

func put[T any](tb testing.TB, docs *store.Documents[T], s sestina.Scope, name string, v T) {
	tb.Helper()
	_, err := docs.Change(context.Background(), s, name, func(store.Tx, *T) (*T, error) { return &v, nil })
	check(tb, err)
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func address(tb testing.TB, s string) message.Address {
	tb.Helper()
	a, err := message.ParseAddress(s)
	check(tb, err)
	return a
}

// simple is a formatted submission; raw one of a raw message.
func simple(tb testing.TB, from string, to ...string) accept.Submission {
	f := &message.Simple{From: address(tb, from), Subject: message.Content{Data: "Spring list"}, Text: &message.Content{Data: "hello"}}
	for _, a := range to {
		f.To = append(f.To, address(tb, a))
	}
	return accept.Submission{Scope: scope, Operation: "SendEmail", UserName: "mailer", SourceIP: netip.MustParseAddr("::ffff:192.0.2.10"), Source: from, Destinations: to, Formatted: f, MaxBytes: 10 << 20}
}

func raw(text string) accept.Submission {
	return accept.Submission{Scope: scope, Operation: "SendRawEmail", UserName: "root", Raw: []byte(strings.ReplaceAll(text, "\n", "\r\n")), MaxBytes: 10 << 20}
}

// accepted returns the stored message with its body and units.
func (d *door) accepted(tb testing.TB, s accept.Submission) (store.Message, string, []store.Unit) {
	tb.Helper()
	id, err := d.Accept(context.Background(), s)
	check(tb, err)
	internal, ok := sestina.ParseMessageID(id)
	if !ok {
		tb.Fatalf("%q is not a message id", id)
	}
	m, err := d.Store.Message(context.Background(), scope, internal)
	check(tb, err)
	r, err := d.Store.OpenBody(context.Background(), internal)
	check(tb, err)
	body, err := io.ReadAll(r)
	check(tb, errors.Join(err, r.Close()))
	units, err := d.Store.UnitsOfMessage(context.Background(), scope, internal)
	check(tb, err)
	return m, string(body), units
}

func mailOf(tb testing.TB, m store.Message) event.Mail {
	tb.Helper()
	var out event.Mail
	check(tb, json.Unmarshal(m.Mail, &out))
	return out
}

// TestAccept looks at all that one acceptance writes.
func TestAccept(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	s := simple(t, "Ana <a@News.Example.com>", "Lena <lena@Example.net>", "karl@example.org", "mia@EXAMPLE.NET")
	s.ConfigurationSet, s.Tags, s.TLSVersion = "s", []sestina.Tag{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}, "TLSv1.3"
	s.Destinations = append(s.Destinations, "hidden@example.org")
	m, body, units := d.accepted(t, s)

	recipients := []string{"lena@Example.net", "karl@example.org", "mia@EXAMPLE.NET", "hidden@example.org"}
	if m.ConfigurationSet != "s" || m.Identity != "example.com" || m.Source != "Ana <a@News.Example.com>" || m.ReturnPath != "a@News.Example.com" ||
		m.Subject != "Spring list" || m.Size != int64(len(body)) || !reflect.DeepEqual(m.Recipients, recipients) {
		t.Errorf("message %+v", m)
	}
	id := sestina.MessageID(m.ID, scope.Region)
	mail := mailOf(t, m)
	want := event.Tags{
		{Name: "ses:source-tls-version", Value: "TLSv1.3"}, {Name: "ses:operation", Value: "SendEmail"}, {Name: "ses:configuration-set", Value: "s"},
		{Name: "ses:source-ip", Value: "192.0.2.10"}, {Name: "ses:from-domain", Value: "news.example.com"}, {Name: "ses:caller-identity", Value: "mailer"},
		{Name: "a", Value: "1"}, {Name: "a", Value: "2"},
	}
	if !reflect.DeepEqual(mail.Tags, want) {
		t.Errorf("tags %v", mail.Tags)
	}
	if mail.MessageID != id || mail.CommonHeaders.MessageID != id || mail.SourceARN != "arn:aws:ses:eu-west-1:111122223333:identity/example.com" || mail.SendingAccountID != scope.Account ||
		mail.Timestamp != event.Time(m.ID.Time()) || !reflect.DeepEqual(mail.Destination, recipients) {
		t.Errorf("mail %+v", mail)
	}
	if !bytes.HasSuffix(m.Mail, []byte(`"a":["1","2"]}}`)) {
		t.Errorf("the mail object does not end with its tags: %s", m.Mail)
	}
	if !strings.Contains(body, "\r\nMessage-ID: <"+id+"@eu-west-1.amazonses.com>\r\n") || strings.Contains(body, "hidden") {
		t.Errorf("body:\n%s", body)
	}

	var lanes, kinds []string
	for _, u := range units {
		if u.Kind == store.KindPublication {
			kinds = append(kinds, u.Lane)
			continue
		}
		p, err := deliver.DecodePayload(u.Payload)
		check(t, err)
		lanes = append(lanes, fmt.Sprint(u.Lane, p.Recipients))
	}
	if !reflect.DeepEqual(lanes, []string{
		"111122223333/eu-west-1/pool/s/example.net[lena@Example.net mia@EXAMPLE.NET]", "111122223333/eu-west-1/pool/s/example.org[karl@example.org hidden@example.org]",
	}) {
		t.Errorf("deliveries %q", lanes)
	}
	set := d.Outbox.Sets.Get(scope, "s")
	if !reflect.DeepEqual(kinds, []string{set.Destinations[0].ID.String(), set.Destinations[1].ID.String()}) {
		t.Errorf("publications %q", kinds)
	}
	events, err := d.Store.Events(t.Context(), store.EventFilter{Scope: scope, MessageID: m.ID})
	if err != nil || len(events) != 1 || events[0].Type != sestina.Send || string(events[0].Object) != "{}" || len(events[0].LateTags) != 0 {
		t.Errorf("events %+v, %v", events, err)
	}
}

// TestRefusals: every rule has its error, and a refused message leaves nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const ok = "From: a@example.com\nTo: x@example.net\n"
	from := func(s string, change func(*accept.Submission)) accept.Submission {
		sub := simple(t, s, "x@example.net")
		if change != nil {
			change(&sub)
		}
		return sub
	}
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprintf("r%d@example.net", i)
	}
	rejected := func(list string) string {
		return "Email address is not verified. The following identities failed the check in region EU-WEST-1: " + list
	}
	var senders []string
	for i := range 12 {
		senders = append(senders, fmt.Sprintf("s%d@x.example", i))
	}
	for _, c := range []struct {
		name           string
		sub            accept.Submission
		code, v2, text string
	}{
		{"NoFrom", raw("To: x@example.net\n\nhi\n"), "InvalidParameterValue", "BadRequestException", "Missing required header 'From'."},
		{"Empty", raw(""), "InvalidParameterValue", "BadRequestException", "Missing required header 'From'."},
		{"TwoSubjects", raw(ok + "Subject: a\nsubject: b\n\nhi\n"), "InvalidParameterValue", "BadRequestException", "Duplicate header 'subject'."},
		{"NoRecipients", raw("From: a@example.com\n\nhi\n"), "InvalidParameterValue", "BadRequestException", "The message has no recipients: give at least one To, Cc or Bcc address."},
		{"EmptyRecipients", from("a@example.com", func(s *accept.Submission) { s.Destinations = []string{} }), "InvalidParameterValue", "BadRequestException", "The message has no recipients: give at least one To, Cc or Bcc address."},
		{"TooManyRecipients", from("a@example.com", func(s *accept.Submission) { s.Destinations = many }), "InvalidParameterValue", "BadRequestException", "Recipient count exceeds 50."},
		{"TooManyInHeader", raw("From: a@example.com\nTo: " + strings.Join(many, ",\n ") + "\n\nhi\n"), "InvalidParameterValue", "BadRequestException", "Recipient count exceeds 50."},
		{"BadRecipient", from("a@example.com", func(s *accept.Submission) { s.Destinations = []string{"nobody"} }), "InvalidParameterValue", "BadRequestException", "Missing final '@domain'"},
		{"BadSource", from("a@example.com", func(s *accept.Submission) { s.Source = "nobody" }), "InvalidParameterValue", "BadRequestException", "Missing final '@domain'"},
		{"BadReturnPath", from("a@example.com", func(s *accept.Submission) { s.ReturnPath = "nobody" }), "InvalidParameterValue", "BadRequestException", "Missing final '@domain'"},
		{"BadSender", raw(ok + "Sender: nobody\n\nhi\n"), "InvalidParameterValue", "BadRequestException", "Missing final '@domain'"},
		{"BadTag", from("a@example.com", func(s *accept.Submission) { s.Tags = []sestina.Tag{{Name: "a b", Value: "x"}} }), "InvalidParameterValue", "BadRequestException", "Invalid tag name <a b>: only alphanumeric ASCII characters, '_',  '-' are allowed."},
		{"BadHeaderTag", raw(ok + "X-SES-MESSAGE-TAGS: a\n\nhi\n"), "InvalidParameterValue", "BadRequestException", "The tag value must be specified."},
		{"TooLarge", func() accept.Submission { s := raw(ok + "\n" + strings.Repeat("x", 100)); s.MaxBytes = 100; return s }(), "InvalidParameterValue", "BadRequestException", "Message length is more than 100 bytes long: '142'."},
		// Unfolded line ends make it longer than it came.
		{"TooLargeAsStored", func() accept.Submission {
			s := raw(ok)
			s.Raw = append(s.Raw, strings.Repeat("\n", 100)...)
			s.MaxBytes = 200
			return s
		}(), "InvalidParameterValue", "BadRequestException", ""},
		{"UnknownSet", from("a@example.com", func(s *accept.Submission) { s.ConfigurationSet = "nope" }), "ConfigurationSetDoesNotExist", "NotFoundException", "Configuration set <nope> does not exist."},
		{"UnknownSetInHeader", raw(ok + "X-SES-CONFIGURATION-SET: nope\n\nhi\n"), "ConfigurationSetDoesNotExist", "NotFoundException", "Configuration set <nope> does not exist."},
		{"DefaultSetDeleted", from("a@org.example", nil), "ConfigurationSetDoesNotExist", "BadRequestException", "Configuration set <missing> does not exist."},
		{"PausedSet", from("a@example.com", func(s *accept.Submission) { s.ConfigurationSet = "off" }), "ConfigurationSetSendingPausedException", "SendingPausedException", "Sending is paused for configuration set off"},
		{"Unverified", from("a@x.example", nil), "MessageRejected", "MessageRejected", rejected("a@x.example")},
		{"Pending", from("a@pending.example", nil), "MessageRejected", "MessageRejected", rejected("a@pending.example")},
		{"OtherRegion", from("a@example.com", func(s *accept.Submission) { s.Scope.Region = "us-west-2" }), "MessageRejected", "MessageRejected",
			strings.Replace(rejected("a@example.com"), "EU-WEST-1", "US-WEST-2", 1)},
		{"EveryFrom", raw("From: a@example.com, b@x.example, c@y.example\nSender: d@z.example\nTo: x@example.net\n\nhi\n"), "MessageRejected", "MessageRejected", rejected("b@x.example, c@y.example, d@z.example")},
		{"ManySenders", raw("From: " + strings.Join(senders, ", ") + "\nTo: x@example.net\n\nhi\n"), "MessageRejected", "MessageRejected", rejected(strings.Join(senders[:10], ", ") + ", ...")},
		{"Source", from("a@example.com", func(s *accept.Submission) { s.Source = "b@x.example" }), "MessageRejected", "MessageRejected", rejected("b@x.example")},
		{"ReturnPath", from("a@example.com", func(s *accept.Submission) { s.ReturnPath = "r@x.example" }), "MessageRejected", "MessageRejected", rejected("r@x.example")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			id, err := d.Accept(t.Context(), c.sub)
			var e *sestina.Error
			if !errors.As(err, &e) || id != "" {
				t.Fatalf("accepted as %q, %v", id, err)
			}
			if e.Code != c.code || e.REST != c.v2 || c.text != "" && e.Message != c.text {
				t.Errorf("got %s, %s: %q\nwant %s, %s: %q", e.Code, e.REST, e.Message, c.code, c.v2, c.text)
			}
		})
	}
	t.Cleanup(func() {
		for _, region := range []string{scope.Region, "us-west-2"} {
			n, _, err := d.Store.CountMessages(context.Background(), sestina.Scope{Account: scope.Account, Region: region}, d.Clock.Now().AddDate(-1, 0, 0))
			if n != 0 || err != nil {
				t.Errorf("%d refused messages are stored, %v", n, err)
			}
		}
	})
}

// TestChoices: where configuration set, tags, source, return path and identity
// come from.
func TestChoices(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const head = "From: Ana <a@example.com>\nTo: x@example.net\n"
	const control = "X-SES-CONFIGURATION-SET: vip\nX-SES-MESSAGE-TAGS: a=header\n"
	withSource := func(s accept.Submission, source, path string) accept.Submission {
		s.Source, s.ReturnPath = source, path
		return s
	}
	parameters := raw(head + control + "\nhi\n")
	parameters.ConfigurationSet, parameters.Tags = "s", []sestina.Tag{{Name: "b", Value: "api"}}
	smtp := withSource(raw(head+"Return-Path: <r@example.com>\n\nhi\n"), "bounce@example.com", "bounce@example.com")
	smtp.Operation, smtp.Destinations = "SendSmtpEmail", []string{"x@example.net"}
	for _, c := range []struct {
		name                                    string
		sub                                     accept.Submission
		set, tags, source, returnPath, identity string
	}{
		{"Header", raw(head + control + "\nhi\n"), "vip", "[{a header}]", "Ana <a@example.com>", "a@example.com", "example.com"},
		{"Parameters", parameters, "s", "[{b api}]", "Ana <a@example.com>", "a@example.com", "example.com"},
		{"DomainDefault", raw(head + "\nhi\n"), "default", "[]", "Ana <a@example.com>", "a@example.com", "example.com"},
		{"AddressDefault", raw("From: vip+x@example.com\nTo: x@example.net\n\nhi\n"), "vip", "[]", "vip+x@example.com", "vip+x@example.com", "vip@example.com"},
		{"NoSet", raw("From: a@sub.Plain.example\nTo: x@example.net\n\nhi\n"), "", "[]", "a@sub.Plain.example", "a@sub.Plain.example", "plain.example"},
		{"ReturnPathHeader", raw(head + "Return-Path: <r@example.com>\n\nhi\n"), "default", "[]", "Ana <a@example.com>", "r@example.com", "example.com"},
		{"NullReturnPath", raw(head + "Return-Path: <>\n\nhi\n"), "default", "[]", "Ana <a@example.com>", "a@example.com", "example.com"},
		{"SourceBeforeHeader", withSource(raw(head+"Return-Path: <r@example.com>\n\nhi\n"), "S <s@example.com>", ""), "default", "[]", "S <s@example.com>", "s@example.com", "example.com"},
		{"ReturnPathParameter", withSource(raw(head+"Return-Path: <r@example.com>\n\nhi\n"), "", "P <p@example.com>"), "default", "[]", "Ana <a@example.com>", "p@example.com", "example.com"},
		{"SMTP", smtp, "default", "[]", "bounce@example.com", "bounce@example.com", "example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, body, _ := d.accepted(t, c.sub)
			var tags []sestina.Tag
			for _, tag := range mailOf(t, m).Tags {
				if !strings.HasPrefix(tag.Name, "ses:") {
					tags = append(tags, tag)
				}
			}
			got := []string{m.ConfigurationSet, fmt.Sprint(tags), m.Source, m.ReturnPath, m.Identity}
			if want := []string{c.set, c.tags, c.source, c.returnPath, c.identity}; !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if strings.Contains(strings.ToLower(body), "x-ses-") || strings.Contains(body, "Return-Path") {
				t.Errorf("body:\n%s", body)
			}
		})
	}
}

func TestPausedAccount(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	put(t, d.accounts, scope, accept.AccountName, sestina.Account{SendingOff: true})
	s := simple(t, "a@x.example", "x@example.net") // the account is checked before the identity
	s.ConfigurationSet = "off"                     // and before the set
	_, err := d.Accept(t.Context(), s)
	var e *sestina.Error
	if !errors.As(err, &e) || e.Code != "AccountSendingPausedException" || e.REST != "SendingPausedException" || e.Message != "Account sending is disabled." {
		t.Errorf("error %v", err)
	}
}

// TestAnySender: the dev option takes senders that nobody verified.
func TestAnySender(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *accept.Options) { o.AnySender = true })
	m, _, _ := d.accepted(t, simple(t, "a@X.example", "x@example.net"))
	if m.Identity != "x.example" || mailOf(t, m).SourceARN != "arn:aws:ses:eu-west-1:111122223333:identity/x.example" {
		t.Errorf("identity %s", m.Identity)
	}
}

// TestLargeMessage: a message too big for the database goes to a file, and is
// there complete.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	s := simple(t, "a@example.com", "x@example.net")
	s.Formatted.Attachments = []message.Attachment{{FileName: "a.bin", Data: bytes.Repeat([]byte{0, 1, 2, 3}, 1<<18)}}
	m, body, _ := d.accepted(t, s)
	if m.Size < 1<<20 || int64(len(body)) != m.Size || !strings.HasSuffix(body, "--\r\n") {
		t.Errorf("%d bytes stored of %d", len(body), m.Size)
	}
}

// TestNotice: Sestina's own mail needs no identity and causes no publications.
func TestNotice(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	effects, err := d.Notice(t.Context(), scope, message.Simple{
		From: address(t, "no-reply@sns.example"), To: []message.Address{address(t, "ops@example.net")}, Subject: message.Content{Data: "s"}, Text: &message.Content{Data: "t"},
	})
	check(t, err)
	if len(effects.Messages) != 1 || len(effects.Units) != 1 || effects.Units[0].Kind != store.KindDelivery || len(effects.Events) != 1 {
		t.Fatalf("effects %+v", effects)
	}
	check(t, d.Store.Do(t.Context(), &store.Write{Effects: effects}))
	m, err := d.Store.Message(t.Context(), scope, effects.Messages[0].ID)
	if err != nil || m.ConfigurationSet != "" || m.Identity != "sns.example" || m.Recipients[0] != "ops@example.net" {
		t.Errorf("message %+v, %v", m, err)
	}
}

// TestClosedStore: when nothing can be stored, the caller is told to come
// again, and is not told that the message was accepted.
func TestClosedStore(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	check(t, d.Store.Close())
	if id, err := d.Accept(t.Context(), simple(t, "a@example.com", "x@example.net")); id != "" || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("accepted as %q, %v", id, err)
	}
}

// TestParallelAccept: ids are unlike, and every message is whole.
func TestParallelAccept(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const n = 50
	ids := make(chan string, n)
	for i := range n {
		go func() {
			s := simple(t, "a@example.com", fmt.Sprintf("r%d@example.net", i))
			s.ConfigurationSet = "s"
			id, err := d.Accept(context.Background(), s)
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	seen := map[string]bool{}
	for range n {
		seen[<-ids] = true
	}
	messages, recipients, err := d.Store.CountMessages(t.Context(), scope, d.Clock.Now().AddDate(0, 0, -1))
	if len(seen) != n || messages != n || recipients != n || err != nil {
		t.Errorf("%d ids, %d messages, %d recipients, %v", len(seen), messages, recipients, err)
	}
}

// BenchmarkAccept accepts formatted messages of 4 KiB with a configuration set
// and two publications each, from parallel callers that share group commits.
func BenchmarkAccept(b *testing.B) {
	d := newDoor(b)
	text := strings.Repeat("A line of text that is as long as lines of text are.\r\n", 76)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		s := simple(b, "Ana <a@example.com>", "lena@example.net")
		s.ConfigurationSet, s.Tags = "s", []sestina.Tag{{Name: "campaign", Value: "spring"}}
		s.Formatted.Text.Data = text
		for pb.Next() {
			if _, err := d.Accept(context.Background(), s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkAcceptRaw is BenchmarkAccept for raw messages.
func BenchmarkAcceptRaw(b *testing.B) {
	d := newDoor(b)
	text := []byte("From: Ana <a@example.com>\r\nTo: lena@example.net\r\nSubject: Spring list\r\nX-SES-CONFIGURATION-SET: s\r\nX-SES-MESSAGE-TAGS: campaign=spring\r\n\r\n" +
		strings.Repeat("A line of text that is as long as lines of text are.\r\n", 76))
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s := accept.Submission{Scope: scope, Operation: "SendRawEmail", UserName: "root", Raw: text, MaxBytes: 10 << 20}
			if _, err := d.Accept(context.Background(), s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
