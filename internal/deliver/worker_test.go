package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/prepare"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

const body = "From: news@example.com\r\nSubject: Hi\r\n\r\nHi\r\n"

func scriptedRig(t *testing.T, answer func(n int, j Job) (Report, error)) (*rig, *script) {
	t.Helper()
	s := &script{answer: answer}
	r := newRig(t, s)
	s.clock = r.clock
	return r, s
}

func TestInboxSequence(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).start()
	m := r.accept(body, "lena@example.net", "ana@EXAMPLE.net", "bo@example.org")
	units := r.finish(&m)
	if len(units) != 2 {
		t.Fatalf("%d units, want one per domain", len(units))
	}
	for _, u := range units {
		if u.State != store.Done || u.Attempts != 1 || !strings.HasPrefix(u.Answer, "250 2.0.0 Ok") {
			t.Errorf("%+v", u)
		}
	}
	r.sequence(&m, "Delivery, Delivery")
	recs := r.records(&m)
	slices.SortFunc(recs, func(a, b record) int { return len(b.Delivery.Recipients) - len(a.Delivery.Recipients) })
	if got := fmt.Sprint(recs[0].Delivery.Recipients, recs[1].Delivery.Recipients); got != "[lena@example.net ana@EXAMPLE.net] [bo@example.org]" {
		t.Error(got)
	}
	if tags := recs[0].Mail.Tags; fmt.Sprint(tags["ses:outgoing-ip"], tags["campaign"]) != "[127.0.0.1] [spring]" {
		t.Error(tags)
	}
}

// The records of every address of the mailbox simulator, byte for byte.
func TestSimulatorRecords(t *testing.T) {
	t.Parallel()
	for name, to := range map[string][]string{
		"success":         {"success@simulator.amazonses.com"},
		"label":           {"success+order17@simulator.amazonses.com"},
		"bounce":          {"bounce@simulator.amazonses.com"},
		"bounce-label":    {"Bounce+Order17@Simulator.Amazonses.com"},
		"suppressionlist": {"suppressionlist@simulator.amazonses.com"},
		"complaint":       {"complaint+a@simulator.amazonses.com"},
		"ooto":            {"ooto@simulator.amazonses.com"},
		"unknown":         {"something@simulator.amazonses.com"},
		"bounces-combined": {
			"bounce@simulator.amazonses.com", "success@simulator.amazonses.com",
			"bounce+2@simulator.amazonses.com", "suppressionlist@simulator.amazonses.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil).start()
			m := r.accept(body, to...)
			r.finish(&m)
			r.golden("simulator/"+name, &m)
		})
	}
}

// Events match the destinations of the set, as publications in the same commit.
func TestPublicationsAreMade(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	all := sestina.EventDestination{ID: r.ids.New(r.clock.Now()), Name: "all", Enabled: true, EventTypes: sestina.EventTypes, Kind: sestina.DestinationSNS}
	off := sestina.EventDestination{ID: r.ids.New(r.clock.Now()), Name: "off", EventTypes: sestina.EventTypes, Kind: sestina.DestinationSNS}
	r.configure(sestina.ConfigurationSet{Destinations: []sestina.EventDestination{all, off}})
	r.start()
	m := r.accept(body, "complaint@simulator.amazonses.com")
	r.finish(&m)
	r.sequence(&m, "Delivery, Complaint")
	units, err := r.store.UnitsOfMessage(t.Context(), scope, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	var targets []sestina.ID
	for _, u := range units {
		if u.Kind == store.KindPublication {
			targets = append(targets, u.Target)
		}
	}
	if !slices.Equal(targets, []sestina.ID{all.ID, all.ID}) {
		t.Errorf("published to %v, want twice %s", targets, all.ID)
	}
}

func TestHardBounce(t *testing.T) {
	t.Parallel()
	r, s := scriptedRig(t, func(_ int, j Job) (Report, error) {
		return Report{Outcomes: all(j.Recipients, said("", 550, "5.1.1 nobody"))}, nil
	})
	r.start()
	m := r.accept(body, "lena@example.net")
	u := r.finish(&m)[0]
	if u.State != store.Done || u.Answer != "550 5.1.1 nobody" {
		t.Errorf("%+v", u)
	}
	r.sequence(&m, "Bounce")
	b := r.records(&m)[0].Bounce
	if b.BounceType != "Permanent" || b.BounceSubType != "General" || b.BouncedRecipients[0].DiagnosticCode != "smtp; 550 5.1.1 nobody" {
		t.Errorf("%+v", b)
	}
	if j := s.jobs[0]; j.From != "bounces@example.com" || j.RequireTLS {
		t.Errorf("%+v", j)
	}
}

// A temporary failure is a delay at once and tried again by the schedule.
func TestSoftThenDelivered(t *testing.T) {
	t.Parallel()
	r, s := scriptedRig(t, func(n int, j Job) (Report, error) {
		if n < 3 {
			return Report{Outcomes: all(j.Recipients, said("", 451, "4.3.0 later"))}, nil
		}
		return Report{Outcomes: all(j.Recipients, said("", 250, "2.0.0 Ok"))}, nil
	})
	r.start()
	m := r.accept(body, "lena@example.net")
	for i, step := range []time.Duration{5 * time.Minute, time.Hour} {
		r.attempts(&m, i+1)
		u := r.deliveries(&m)[0]
		if wait := u.Due.Sub(r.clock.Now()); wait > step || wait < step-patience {
			t.Fatalf("attempt %d comes after %s, want %s", i+2, wait, step)
		}
		r.clock.Advance(u.Due.Sub(r.clock.Now()))
	}
	r.finish(&m)
	r.sequence(&m, "DeliveryDelay, DeliveryDelay, Delivery")
	d := r.records(&m)[0].Delay
	if d.DelayType != "RecipientServerError" || d.ExpirationTime != m.ID.Time().Add(14*time.Hour).Format("2006-01-02T15:04:05.000Z") {
		t.Errorf("%+v", d)
	}
	if got := fmt.Sprint(d.DelayedRecipients); got != "[{lena@example.net 4.3.0 smtp; 451 4.3.0 later}]" {
		t.Error(got)
	}
	attempts, err := r.store.Attempts(t.Context(), []sestina.ID{r.deliveries(&m)[0].ID})
	if err != nil || len(attempts) != 2 || attempts[0].Answer != "451 4.3.0 later" {
		t.Errorf("timeline %+v, %v", attempts, err)
	}
	if s.count() != 3 {
		t.Errorf("%d attempts", s.count())
	}
}

// When the window ends there is no further attempt, but a transient bounce with
// what was said last.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		seconds int64
		sub     string
		text    string
	}{
		"window":             {0, "MailboxFull", "smtp; 550 4.4.7 Message expired: unable to deliver in 840 minutes.<452 4.2.2 full again>"},
		"MaxDeliverySeconds": {600, "CustomTimeoutExceeded", "smtp; 550 4.4.7 Message expired: unable to deliver in 10 minutes.<452 4.2.2 full again>"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := scriptedRig(t, func(_ int, j Job) (Report, error) {
				return Report{Outcomes: all(j.Recipients, said("", 452, "4.2.2 full again"))}, nil
			})
			r.configure(sestina.ConfigurationSet{Delivery: &sestina.DeliveryOptions{MaxDeliverySeconds: tt.seconds}})
			r.start()
			m := r.accept(body, "lena@example.net")
			var u store.Unit
			for n := 1; ; n++ {
				r.until("an attempt or the end", func() bool {
					u = r.deliveries(&m)[0]
					return u.Attempts >= n || u.State != store.Waiting
				})
				if u.State != store.Waiting {
					break
				}
				r.clock.Advance(u.Due.Sub(r.clock.Now()))
			}
			recs := r.records(&m)
			last := recs[len(recs)-1]
			if want := strings.Repeat("DeliveryDelay, ", s.count()) + "Bounce"; r.types(&m) != want || s.count() < 2 {
				t.Fatalf("events are %q, want %q", r.types(&m), want)
			}
			b := last.Bounce
			if b.BounceType != "Transient" || b.BounceSubType != tt.sub || b.BouncedRecipients[0].Status != "4.4.7" ||
				b.BouncedRecipients[0].DiagnosticCode != tt.text || b.RemoteMTAIP != "203.0.113.25" {
				t.Errorf("%+v", b)
			}
			if len(last.Mail.Tags["ses:outgoing-ip"]) > 0 {
				t.Error("a bounce without delivery has the tags of one")
			}
		})
	}
}

// What stood still for longer than the window gets one attempt; with
// MaxDeliverySeconds it gets none.
func TestNeverTriedInTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		seconds int64
		code    int
		want    string
		sub     string
		tried   int
	}{
		"window, delivered": {0, 250, "Delivery", "", 1},
		"window, refused":   {0, 451, "Bounce", "General", 1},
		"custom":            {300, 250, "Bounce", "CustomTimeoutExceeded", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := scriptedRig(t, func(_ int, j Job) (Report, error) {
				return Report{Outcomes: all(j.Recipients, said("", tt.code, "answer"))}, nil
			})
			r.configure(sestina.ConfigurationSet{Delivery: &sestina.DeliveryOptions{MaxDeliverySeconds: tt.seconds}})
			m := r.accept(body, "lena@example.net")
			r.clock.Advance(15 * time.Hour)
			r.start()
			r.finish(&m)
			r.sequence(&m, tt.want)
			if got := r.records(&m)[0].Bounce.BounceSubType; got != tt.sub {
				t.Errorf("subtype %q, want %q", got, tt.sub)
			}
			if s.count() != tt.tried {
				t.Errorf("tried %d times, want %d", s.count(), tt.tried)
			}
		})
	}
}

// Recipients of one delivery end one by one; the unit goes on with the rest.
func TestMixedRecipients(t *testing.T) {
	t.Parallel()
	r, s := scriptedRig(t, func(n int, j Job) (Report, error) {
		switch n {
		case 1:
			return Report{Outcomes: append(all(j.Recipients[:2], said("", 250, "2.0.0 Ok")),
				said(j.Recipients[2], 550, "5.1.1 nobody"), said(j.Recipients[3], 452, "4.2.2 full"), said(j.Recipients[4], 552, "5.2.2 full for good"),
			)}, nil
		default:
			return Report{Outcomes: all(j.Recipients, said("", 250, "2.0.0 Ok later"))}, nil
		}
	})
	r.start()
	m := r.accept(body, "a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net")
	r.attempts(&m, 1)
	r.sequence(&m, "Delivery, Bounce, Bounce, DeliveryDelay")
	r.clock.Advance(5 * time.Minute)
	r.finish(&m)
	r.sequence(&m, "Delivery, Bounce, Bounce, DeliveryDelay, Delivery")
	recs := r.records(&m)
	if got := fmt.Sprint(recs[0].Delivery.Recipients, recs[4].Delivery.Recipients, s.jobs[1].Recipients); got != "[a@example.net b@example.net] [d@example.net] [d@example.net]" {
		t.Error(got)
	}
	if recs[1].Bounce.BounceType != "Permanent" || recs[2].Bounce.BounceSubType != "MailboxFull" {
		t.Errorf("%+v %+v", recs[1].Bounce, recs[2].Bounce)
	}
}

// Recipients that a transport left untried are tried at once, and that is no
// attempt of its own.
func TestUntriedRecipients(t *testing.T) {
	t.Parallel()
	r, _ := scriptedRig(t, func(_ int, j Job) (Report, error) {
		return Report{Outcomes: all(j.Recipients[:1], said("", 250, "2.0.0 Ok"))}, nil
	})
	r.start()
	m := r.accept(body, "a@example.net", "b@example.net", "c@example.net")
	if u := r.finish(&m)[0]; u.Attempts != 1 {
		t.Errorf("%d attempts", u.Attempts)
	}
	r.sequence(&m, "Delivery, Delivery, Delivery")
}

// A host that does not serve holds its lane: other messages wait untried,
// without events, and all go out when it is back. Other lanes do not notice.
func TestLaneFault(t *testing.T) {
	t.Parallel()
	down := true
	r, s := scriptedRig(t, nil)
	s.answer = func(_ int, j Job) (Report, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if down && domainOf(j.Recipients[0]) == "example.net" {
			return Report{Outcomes: all(j.Recipients, said("", 421, "4.4.1 Failed to establish connection")), LaneFault: true}, nil
		}
		return Report{Outcomes: all(j.Recipients, said("", 250, "2.0.0 Ok"))}, nil
	}
	r.start()
	first := r.accept(body, "a@example.net")
	r.attempts(&first, 1)
	r.sequence(&first, "DeliveryDelay")
	second, third := r.accept(body, "b@example.net"), r.accept(body, "c@example.org")
	r.finish(&third)
	if n := s.count(); n != 2 {
		t.Errorf("%d attempts while the host is down, want 2", n)
	}
	r.sequence(&second, "")
	s.mu.Lock()
	down = false
	s.mu.Unlock()
	r.clock.Advance(10 * time.Minute)
	r.finish(&first)
	r.finish(&second)
	r.sequence(&first, "DeliveryDelay, Delivery")
	r.sequence(&second, "Delivery")
}

func TestTLSPolicy(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]bool{"REQUIRE": true, "OPTIONAL": false, "": false} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r, s := scriptedRig(t, func(_ int, j Job) (Report, error) {
				return Report{Outcomes: all(j.Recipients, said("", 250, "Ok"))}, nil
			})
			r.configure(sestina.ConfigurationSet{Delivery: &sestina.DeliveryOptions{TLSPolicy: policy}})
			r.start()
			m := r.accept(body, "lena@example.net")
			r.finish(&m)
			if s.jobs[0].RequireTLS != want {
				t.Errorf("RequireTLS is %t", s.jobs[0].RequireTLS)
			}
		})
	}
}

// eicar is a message with the test virus, put together here so that no file of
// this repository holds it.
func eicar() string {
	return "From: news@example.com\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=sample.txt\r\n\r\n" +
		`X5O!P%@AP[4\PZX54(P^)7CC)7}` + "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n"
}

// One Reject for the whole message, and nothing is delivered.
func TestReject(t *testing.T) {
	t.Parallel()
	r, s := scriptedRig(t, func(int, Job) (Report, error) { return Report{}, errors.New("must not be called") })
	r.start()
	m := r.accept(eicar(), "a@example.net", "b@example.org", "success@simulator.amazonses.com", "c@example.com")
	for _, u := range r.finish(&m) {
		if u.State != store.Done || u.Answer != "rejected: bad content" {
			t.Errorf("%+v", u)
		}
	}
	r.sequence(&m, "Reject")
	if got := r.records(&m)[0].Reject.Reason; got != "Bad content" {
		t.Error(got)
	}
	if s.count() != 0 {
		t.Error("it was delivered")
	}
}

// Our own fault is no event and no bounce as long as there is time.
func TestOwnFault(t *testing.T) {
	t.Parallel()
	r, _ := scriptedRig(t, func(n int, j Job) (Report, error) {
		if n == 1 {
			return Report{}, errors.New("body cannot be read")
		}
		return Report{Outcomes: all(j.Recipients, said("", 250, "Ok"))}, nil
	})
	r.start()
	m := r.accept(body, "lena@example.net")
	r.attempts(&m, 1)
	r.sequence(&m, "")
	r.clock.Advance(5 * time.Minute)
	r.finish(&m)
	r.sequence(&m, "Delivery")
}

// A body that is gone ends in a bounce, so that the sender hears of it.
func TestOwnFaultForever(t *testing.T) {
	t.Parallel()
	r, _ := scriptedRig(t, func(int, Job) (Report, error) { return Report{}, errors.New("must not be called") })
	m := r.accept(body, "lena@example.net")
	if err := r.store.DeleteBody(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.attempts(&m, 1)
	r.clock.Advance(14 * time.Hour)
	r.finish(&m)
	r.sequence(&m, "Bounce")
	if b := r.records(&m)[0].Bounce; b.BounceType != "Transient" {
		t.Errorf("%+v", b)
	}
}

// Units that cannot be understood become dead letters instead of going round.
func TestUnreadableUnits(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	m := r.accept(body, "lena@example.net")
	good := r.deliveries(&m)[0]
	results := r.worker.Work(t.Context(), good.Lane, []store.Unit{
		{ID: good.ID, Scope: scope, MessageID: m.ID, Payload: []byte(`{"v":2}`)},
		{ID: good.ID, Scope: scope, MessageID: m.ID, Payload: []byte(`nonsense`)},
		{ID: good.ID, Scope: scope, MessageID: r.ids.New(r.clock.Now()), Payload: good.Payload},
	})
	for _, res := range results {
		if res.Verdict != work.Dead || res.Answer == "" {
			t.Errorf("%+v", res)
		}
	}
	if len(results) != 3 {
		t.Errorf("%d results", len(results))
	}
}

// A stopped worker says nothing about what it did not try.
func TestWorkerStops(t *testing.T) {
	t.Parallel()
	r, _ := scriptedRig(t, func(int, Job) (Report, error) { return Report{}, nil })
	m := r.accept(body, "lena@example.net")
	u := r.deliveries(&m)[0]
	if got := r.worker.Work(t.Context(), u.Lane, []store.Unit{u}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := r.worker.Work(ctx, u.Lane, []store.Unit{u}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWorkerBusy(t *testing.T) {
	t.Parallel()
	r, _ := scriptedRig(t, func(n int, j Job) (Report, error) {
		if n < 3 {
			return Report{Busy: true}, nil
		}
		return Report{Outcomes: all(j.Recipients, said("", 250, "Ok"))}, nil
	})
	r.start()
	m := r.accept(body, "lena@example.net")
	if u := r.finish(&m)[0]; u.Attempts != 1 {
		t.Errorf("%d attempts", u.Attempts)
	}
}

// Causes made in dev give the records of the real ones, with the tags of the
// delivery they follow.
func TestSimulate(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).start()
	m := r.accept(body, "lena@example.net", "bo@example.net")
	r.finish(&m)
	for _, c := range []struct {
		cause     Cause
		recipient string
	}{{CauseBounce, "LENA@example.net"}, {CauseComplaint, ""}, {CauseDelay, "bo@example.net"}} {
		e, err := r.worker.Simulate(t.Context(), &m, c.cause, c.recipient)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.Do(t.Context(), &store.Write{Effects: e}); err != nil {
			t.Fatal(err)
		}
	}
	r.golden("simulate/after-delivery", &m)
	for _, bad := range [][2]string{{"bounce", "stranger@example.net"}, {"magic", ""}} {
		_, err := r.worker.Simulate(t.Context(), &m, Cause(bad[0]), bad[1])
		var refused *sestina.Error
		if !errors.As(err, &refused) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestSimulateBeforeDelivery(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	m := r.accept(body, "lena@example.net")
	e, err := r.worker.Simulate(t.Context(), &m, CauseComplaint, "")
	if err != nil || len(e.Events) != 1 || e.Events[0].Type != sestina.Complaint || e.Events[0].LateTags != nil {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestEnvelopeSender(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ returnPath, source, want string }{
		{"bounces@example.com", "news@example.com", "bounces@example.com"},
		{"", "News <news@example.com>", "news@example.com"},
		{"Bounces <bounces@example.com>", "", "bounces@example.com"},
		{"not an address", "news@example.com", "news@example.com"},
		{"", "", ""},
	} {
		if got := EnvelopeSender(&store.Message{ReturnPath: tt.returnPath, Source: tt.source}); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.returnPath, tt.source, got, tt.want)
		}
	}
}

// A real relay behind the worker: a refused connection, then a first 4xx, then
// success.
func TestRelaySequence(t *testing.T) {
	t.Parallel()
	relay, n := scripted(t, RelayOptions{MessagesPerConnection: 1}, nil, func(p *peer) {
		p.hello()
		p.step("MAIL FROM:<bounces@example.com>", "250 Ok")
		p.step("RCPT TO:<lena@example.net>", "450 4.2.0 greylisted")
		p.quit()
	}, func(p *peer) {
		p.hello()
		p.step("MAIL FROM:<bounces@example.com>", "250 Ok")
		p.step("RCPT TO:<lena@example.net>", "250 Ok")
		p.want("DATA")
		if got := p.data("250 2.0.0 Ok: queued as 4Xy1"); got != body+".\r\n" {
			p.fail("got %q", got)
		}
		p.quit()
	})
	r := newRig(t, relay)
	relay.o.Clock = r.clock
	r.start()
	m := r.accept(body, "lena@example.net")
	for i := range 2 {
		r.attempts(&m, i+1)
		r.clock.Advance(2 * time.Hour)
	}
	r.finish(&m)
	if err := relay.Close(); err != nil {
		t.Fatal(err)
	}
	n.wg.Wait()
	r.sequence(&m, "DeliveryDelay, DeliveryDelay, Delivery")
	recs := r.records(&m)
	if recs[0].Delay.DelayType != "TransientCommunicationFailure" || recs[1].Delay.DelayType != "General" {
		t.Errorf("%+v %+v", recs[0].Delay, recs[1].Delay)
	}
	if d := recs[2].Delivery; d.SMTPResponse != "250 2.0.0 Ok: queued as 4Xy1" || d.RemoteMTAIP != "203.0.113.25" {
		t.Errorf("%+v", d)
	}
	if got := recs[2].Mail.Tags["ses:outgoing-ip"]; !slices.Equal(got, []string{"198.51.100.7"}) {
		t.Error(got)
	}
}

var _ Preparer = (*prepare.Preparer)(nil)
