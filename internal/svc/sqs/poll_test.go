package sqs

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// bubble runs a test on fake time: synctest.Wait returns when all pollers
// sleep, and time passes only while everyone does.
func bubble(t *testing.T, change func(*Options), f func(t *testing.T, e *env)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		e := openEnv(t, filepath.Join(dir, "data"), func(o *Options) {
			if change != nil {
				change(o)
			}
		})
		f(t, e)
		// The store's goroutines are of the bubble: they end inside it.
		if err := e.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// pass lets time pass in a bubble.
func (e *env) pass(d time.Duration) { e.clock.SleepUntil(e.ctx, e.clock.Now().Add(d), nil) }

// A poller is one long poll in a goroutine of its own.
type poller struct {
	cancel context.CancelFunc
	done   chan struct{}
	took   time.Duration
	bodies []string
	got    []sqs.Message
	err    error
}

func (e *env) poll(url *string, wait int32, change ...func(*sqs.ReceiveMessageInput)) *poller {
	p := &poller{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(e.ctx)
	p.cancel = cancel
	start := e.clock.Now()
	in := &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: &wait}
	for _, f := range change {
		f(in)
	}
	go func() {
		defer close(p.done)
		out, err := e.ReceiveMessage(ctx, in)
		p.took, p.err = e.clock.Now().Sub(start), err
		if out != nil {
			p.got, p.bodies = out.Messages, bodies(out.Messages)
		}
	}()
	return p
}

// ended waits for the poll's answer and checks it.
func (p *poller) ended(t *testing.T, after time.Duration, want ...string) {
	t.Helper()
	<-p.done
	p.cancel()
	if p.err != nil {
		t.Fatalf("poll failed after %s: %v", p.took, p.err)
	}
	if p.took != after {
		t.Errorf("answered after %s, want %s", p.took, after)
	}
	sameBodies(t, p.got, want...)
}

// open reports whether the poll is still waiting.
func (p *poller) open() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func TestLongPoll(t *testing.T) {
	t.Run("AnswersWhenAMessageComes", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q")
			p := e.poll(url, 20)
			synctest.Wait()
			if !p.open() {
				t.Fatal("the poll did not wait")
			}
			e.pass(7 * time.Second)
			e.send(url, "m")
			p.ended(t, 7*time.Second, "m")
		})
	})
	t.Run("EndsEmptyInTime", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			e.poll(e.create("q"), 20).ended(t, 20*time.Second)
			e.poll(e.create("own", "ReceiveMessageWaitTimeSeconds", "3"), 0, func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = nil }).ended(t, 3*time.Second)
		})
	})
	t.Run("AnswersAtOnceWhenThereAreMessages", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q")
			e.send(url, "m")
			e.poll(url, 20).ended(t, 0, "m")
		})
	})
	t.Run("AnswersWhenAMessageBecomesVisible", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q", "VisibilityTimeout", "5")
			e.send(url, "m")
			sameBodies(t, e.receive(url), "m")
			e.poll(url, 20).ended(t, 5*time.Second, "m")
		})
	})
	t.Run("AnswersWhenADelayEnds", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q", "DelaySeconds", "4")
			p := e.poll(url, 20)
			synctest.Wait()
			e.send(url, "m")
			p.ended(t, 4*time.Second, "m")
		})
	})
	t.Run("AnswersWhenVisibilityIsShortened", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q")
			e.send(url, "m")
			m := e.receive(url)[0]
			p := e.poll(url, 20)
			synctest.Wait()
			refused(t, e.hide(url, m, 2), "", "")
			p.ended(t, 2*time.Second, "m")
		})
	})
	t.Run("AnswersWhenAGroupBecomesFree", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.fifo("q.fifo")
			e.sendGroup(url, "g", "1", "2")
			m := e.receive(url, upTo(1))[0]
			p := e.poll(url, 20)
			synctest.Wait()
			if !p.open() {
				t.Fatal("the group was not held up")
			}
			refused(t, e.delete(url, m), "", "")
			p.ended(t, 0, "2")
		})
	})
	t.Run("AnswersWhenTheClockIsMoved", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q", "DelaySeconds", "600")
			e.send(url, "m")
			p := e.poll(url, 20)
			synctest.Wait()
			e.clock.Advance(10 * time.Minute)
			p.ended(t, 10*time.Minute, "m")
		})
	})
	t.Run("AnswersWhenADeadLetterComes", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			dlq := e.create("dlq")
			url := e.create("q", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+e.arn("dlq")+`","maxReceiveCount":1}`)
			e.send(url, "m")
			p := e.poll(dlq, 20)
			synctest.Wait()
			sameBodies(t, e.receive(url), "m")
			sameBodies(t, e.receive(url))
			p.ended(t, 0, "m")
		})
	})
	t.Run("TellsOfADeletedQueue", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q")
			polls := []*poller{e.poll(url, 20), e.poll(url, 20), e.poll(url, 20)}
			synctest.Wait()
			_ = must[*sqs.DeleteQueueOutput](t)(e.DeleteQueue(e.ctx, &sqs.DeleteQueueInput{QueueUrl: url}))
			for _, p := range polls {
				<-p.done
				p.cancel()
				refused(t, p.err, "QueueDoesNotExist", "The specified queue does not exist.")
				if p.took != 0 {
					t.Errorf("after %s", p.took)
				}
			}
		})
	})
}

func TestManyPollers(t *testing.T) {
	// Messages of one commit reach as many pollers, and the rest go on waiting.
	bubble(t, nil, func(t *testing.T, e *env) {
		url := e.create("q")
		var all []*poller
		for range 20 {
			all = append(all, e.poll(url, 20))
		}
		synctest.Wait()
		batch := &sqs.SendMessageBatchInput{QueueUrl: url}
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			batch.Entries = append(batch.Entries, sqs.SendMessageBatchRequestEntry{Id: &id, MessageBody: &id})
		}
		_ = must[*sqs.SendMessageBatchOutput](t)(e.SendMessageBatch(e.ctx, batch))
		synctest.Wait()
		answered := map[string]bool{}
		for _, p := range all {
			if !p.open() {
				p.ended(t, 0, p.bodies...)
				answered[p.bodies[0]] = true
			}
		}
		if len(answered) != 5 {
			t.Errorf("%d messages were received at once: %v", len(answered), answered)
		}
		empty := 0
		for _, p := range all {
			if <-p.done; len(p.got) == 0 {
				p.ended(t, 20*time.Second)
				empty++
			}
		}
		if empty != 15 {
			t.Errorf("%d polls ended empty", empty)
		}
		if len(e.polls.queues) != 0 {
			t.Errorf("pollers of %d queues are remembered", len(e.polls.queues))
		}
	})
}

func TestEndPolls(t *testing.T) {
	bubble(t, nil, func(t *testing.T, e *env) {
		url := e.create("q")
		polls := []*poller{e.poll(url, 20), e.poll(url, 20)}
		synctest.Wait()
		e.EndPolls()
		for _, p := range polls {
			p.ended(t, 0)
		}
		e.poll(url, 20).ended(t, 0)
		e.send(url, "m")
		e.poll(url, 20).ended(t, 0, "m")
	})
}

func TestPollOfLostClient(t *testing.T) {
	t.Run("TakesNothing", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			url := e.create("q")
			lost, other := e.poll(url, 20), e.poll(url, 20)
			synctest.Wait()
			lost.cancel()
			e.send(url, "m")
			<-lost.done
			if !errors.Is(lost.err, context.Canceled) || lost.got != nil {
				t.Errorf("the lost client got %q, %v", lost.bodies, lost.err)
			}
			other.ended(t, 0, "m")
			if n := other.got[0].Attributes; n != nil {
				t.Errorf("attributes %v", n)
			}
		})
	})
	t.Run("GivesBackWhatItTook", func(t *testing.T) {
		var lose context.CancelFunc
		leave := func(o *Options) { o.Store = &leavingStore{Store: o.Store, lose: &lose} }
		bubble(t, leave, func(t *testing.T, e *env) {
			url := e.create("q")
			e.send(url, "m")
			ctx, cancel := context.WithCancel(e.ctx)
			lose = cancel
			out, err := e.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url})
			if !errors.Is(err, context.Canceled) || out != nil {
				t.Fatalf("the lost client got %v, %v", out, err)
			}
			lose = func() {}
			sameBodies(t, e.receive(url), "m")
		})
	})
}

// A leavingStore is a store whose client leaves while messages are taken.
type leavingStore struct {
	store.Store
	lose *context.CancelFunc
}

func (s *leavingStore) Do(ctx context.Context, c store.Command) error {
	err := s.Store.Do(ctx, c)
	if _, ok := c.(*store.ReceiveQueued); ok {
		(*s.lose)()
	}
	return err
}

// With several nodes, a message sent through another one is found by looking.
func TestPollOfSharedStore(t *testing.T) {
	deaf := func(o *Options) { o.Shared, o.Store = true, &deafStore{o.Store} }
	bubble(t, deaf, func(t *testing.T, e *env) {
		url := e.create("q")
		p := e.poll(url, 20)
		synctest.Wait()
		e.pass(1100 * time.Millisecond)
		e.send(url, "m")
		p.ended(t, 1500*time.Millisecond, "m")
	})
}

// A deafStore tells nobody of commits, as those of other nodes are not told.
type deafStore struct{ store.Store }

func (deafStore) Subscribe(store.Listener) {}

func TestSignalWithoutPollers(t *testing.T) {
	t.Parallel()
	var p polls
	p.signal(sestina.ID{1})
	if len(p.queues) != 0 {
		t.Error("a queue without pollers is remembered")
	}
}
