package recovery

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/tests/harness"
)

// fail makes a hook answer 500 and returns a channel that hears of each.
func fail(h *harness.Hook) chan struct{} {
	asked := make(chan struct{}, 10000)
	h.Answer(func(w http.ResponseWriter, _ *http.Request, _ harness.Envelope) bool {
		w.WriteHeader(http.StatusInternalServerError)
		asked <- struct{}{}
		return false
	})
	return asked
}

// exhaust lets the breaker of a failing subscription open so far that the next
// probe is minutes away.
func (b *bed) exhaust(t *testing.T, asked <-chan struct{}) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n < 10; {
		select {
		case <-asked:
			n++
		case <-tick.C:
			b.advance(t, "15m")
		case <-t.Context().Done():
			t.Fatal("no attempt")
		}
	}
}

// TestDeletedTopic: what waits for the subscriptions of a deleted topic, and
// what is for the topic itself, becomes dead letters that say so, at once; and
// once there is such a topic again, a redrive publishes.
func TestDeletedTopic(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	asked := fail(h)
	b.subscribe(t, h)
	b.send(t, 3)
	b.exhaust(t, asked)
	b.deleteTopic(t)
	b.waitDead(t, "notification", 6, "the subscription was deleted")

	ids := b.send(t, 2)
	b.waitDead(t, "publication", 4, "was deleted before this event was published")
	h.Answer(nil)
	b.createTopic(t)
	b.subscribe(t, h)
	if n := b.redrive(t, "publication"); n != 4 {
		t.Errorf("%d publications redriven, want 4", n)
	}
	b.collect(t, h, expected(ids, "Send", "Delivery"))
	if d := b.dead(t, "publication"); len(d) != 0 {
		t.Errorf("dead letters after the redrive: %+v", d)
	}
	wellBehaved(t, b.Instance)
}

// TestUnsubscribed: a backlog of an ended subscription becomes dead letters; a
// new subscription of the same endpoint gets what is new; what belonged to the
// old one stays dead, also when it is redriven.
func TestUnsubscribed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	asked := fail(h)
	arn := b.subscribe(t, h)
	b.send(t, 2)
	b.exhaust(t, asked)
	_, err := b.topics().Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: &arn})
	check(t, err)
	b.waitDead(t, "notification", 4, "the subscription was deleted")

	h.Answer(nil)
	if again := b.subscribe(t, h); again == arn {
		t.Errorf("the new subscription has the old one's ARN")
	}
	b.collect(t, h, expected(b.send(t, 2), "Send", "Delivery"))
	if n := b.redrive(t, "notification"); n != 4 {
		t.Errorf("%d notifications redriven, want 4", n)
	}
	b.waitDead(t, "notification", 4, "the subscription was deleted")
}

// TestRedriveToRecoveredEndpoint: what was given up on outlives a kill and is
// redriven to the endpoint.
func TestRedriveToRecoveredEndpoint(t *testing.T) {
	t.Parallel()
	b := newBed(t, "--publish-window", "1h")
	h := harness.NewHook(t)
	asked := fail(h)
	b.subscribe(t, h)
	ids := b.send(t, 2)
	<-asked
	for _, id := range ids {
		eventually(t, "two notifications that wait", func() bool {
			return strings.Count(string(b.Own(t.Context(), "GET", "messages/"+id+"/timeline", "")), `"kind":"notification"`) == 2
		})
	}
	b.advance(t, "2h")
	b.waitDead(t, "notification", 4, "not delivered within 1h")
	h.Answer(nil)
	b.Kill() // dead letters outlive it
	b.Restart()
	if n := b.redrive(t, "notification"); n != 4 {
		t.Errorf("%d notifications redriven, want 4", n)
	}
	b.collect(t, h, expected(ids, "Send", "Delivery"))
}

// TestDisabledDestination: disabling holds what was matched before, over a
// restart too; enabling lets it go on at once.
func TestDisabledDestination(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.deleteTopic(t) // a way to get publications that wait: redriven ones
	ids := b.send(t, 20)
	b.waitDead(t, "publication", 40, "was deleted")
	b.createTopic(t)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	b.enable(t, false)
	b.redrive(t, "publication")
	if h := b.health(t); h.Waiting != 40 || h.Dead != 0 || h.Enabled {
		t.Errorf("the destination is %+v, want 40 waiting", h)
	}
	b.send(t, 1) // not matched while disabled
	b.Stop()
	b.Restart()
	for n := len(h.Notifications); n > 0; n-- {
		if e := <-h.Notifications; e.Message[0] == '{' { // no test message
			t.Errorf("published while disabled: %s", e.Message)
		}
	}
	b.enable(t, true)
	want := expected(ids, "Send", "Delivery")
	for len(want) > 0 { // without moving the clock
		if e := h.Wait(); e.Message[0] == '{' {
			r := harness.ParseRecord(t, e.Message)
			delete(want, r.Mail.MessageID+" "+r.EventType)
		}
	}
}

// TestDeletedDestination: deleting the event destination, or its whole set,
// turns the backlog into dead letters that say so.
func TestDeletedDestination(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"destination", "set"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.deleteTopic(t)
			b.send(t, 3)
			b.waitDead(t, "publication", 6, "the topic")
			b.createTopic(t)
			b.enable(t, false)
			b.redrive(t, "publication")
			var err error
			if what == "set" {
				_, err = b.mail().DeleteConfigurationSet(t.Context(), &sesv2.DeleteConfigurationSetInput{ConfigurationSetName: aws.String("spring")})
			} else {
				_, err = b.mail().DeleteConfigurationSetEventDestination(t.Context(), &sesv2.DeleteConfigurationSetEventDestinationInput{
					ConfigurationSetName: aws.String("spring"), EventDestinationName: aws.String("all")})
			}
			check(t, err)
			b.waitDead(t, "publication", 6, "the event destination was deleted")
		})
	}
}

// TestFailingLaneOverRestarts: a backlog of a failing subscriber outlives clean
// and unclean ends, and arrives once the subscriber is well.
func TestFailingLaneOverRestarts(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	asked := fail(h)
	b.subscribe(t, h)
	ids := b.send(t, 5)
	<-asked
	b.Stop()
	b.Restart()
	ids = append(ids, b.send(t, 5)...)
	b.Kill()
	b.Restart()
	h.Answer(nil)
	b.collect(t, h, expected(ids, "Send", "Delivery"))
	wellBehaved(t, b.Instance)
}

// TestLargeFanOutOverKill: a topic with more subscriptions than one transaction serves.
// Those to queues that do not exist become dead letters; the last one gets
// everything, exactly once, although the program is killed meanwhile.
func TestLargeFanOutOverKill(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const missing = 520
	for i := range missing {
		b.subscribeQueue(t, "missing-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	b.queue(t, "real")
	for range 5 {
		_, err := b.topics().Publish(t.Context(), &sns.PublishInput{TopicArn: &b.topic, Message: aws.String("to all")})
		check(t, err)
	}
	b.Kill()
	b.Restart()
	got := 0
	eventually(t, "the last queue to have all", func() bool { got += len(b.take(t, "real", 1)); return got >= 5 })
	if extra := b.take(t, "real", 1); len(extra) != 0 {
		t.Errorf("%d messages too many in the queue", len(extra))
	}
	eventually(t, "all dead letters", func() bool {
		n := 0
		for after := ""; ; {
			list, next := b.deadPage(t, "notification", after)
			n += len(list)
			if after = next; next == "" {
				break
			}
		}
		return n == 5*missing
	})
}

// TestResetUnderLoad: emptying everything while mail comes in and events go out
// leaves nothing broken behind.
func TestResetUnderLoad(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	b.queue(t, "events")
	done := make(chan error, 4)
	for range 4 {
		go func() {
			for range 40 {
				if _, err := b.trySend(t.Context(), "lena@example.net", string(make([]byte, 70<<10))); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for n := 0; n < 4; {
		select {
		case err := <-done:
			check(t, err)
			n++
		default:
			b.Own(t.Context(), "POST", "reset", "")
			b.advance(t, "1s")
		}
	}
	b.Own(t.Context(), "POST", "reset", "")
	ids := b.send(t, 3)
	b.collect(t, h, expected(ids, "Send", "Delivery"))
	for _, kind := range []string{"delivery", "publication", "notification"} {
		if d := b.dead(t, kind); len(d) > 0 {
			t.Errorf("dead letters after reset: %+v", d)
		}
	}
	wellBehaved(t, b.Instance)
}
