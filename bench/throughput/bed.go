package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
)

// A bed is the programs under measurement and what they are measured with.
type bed struct {
	p, floor *bench.Process
	api      bench.API
	hook     *bench.Hook
	queues   int // made so far
}

// scene makes a set whose events go to an HTTP endpoint.
func (b *bed) scene() error {
	if err := b.api.Identity(); err != nil {
		return err
	}
	if err := b.api.Set("hook"); err != nil {
		return err
	}
	return b.hook.Subscribe(b.api, "hook")
}

// toQueue measures a set whose events go to a new queue.
func (b *bed) toQueue(n int) (s sample, err error) {
	b.queues++
	set := fmt.Sprintf("queue-%d", b.queues)
	if err := b.api.Set(set); err != nil {
		return s, err
	}
	q, err := b.api.Queue(set)
	if err != nil {
		return s, err
	}
	if s, err = b.fixed(n, many(n), set, q.Depth); err != nil {
		return s, err
	}
	return s, q.Delete()
}

// toHook measures the set whose events go to the HTTP endpoint.
func (b *bed) toHook(n int) (sample, error) {
	was := b.hook.Count()
	return b.fixed(n, many(n), "hook", func() (int, error) { return b.hook.Count() - was, nil })
}

// slowAnswer is what an endpoint some way off takes to answer.
const slowAnswer = 50 * time.Millisecond

// toSlowHook is toHook with an endpoint that takes its time.
func (b *bed) toSlowHook(n int) (sample, error) {
	b.hook.Delay(slowAnswer)
	defer b.hook.Delay(0)
	was := b.hook.Count()
	return b.fixed(n, 300, "hook", func() (int, error) { return b.hook.Count() - was, nil })
}

// many is how many messages with events n clients send.
func many(n int) int { return 200 + 10*n }

const (
	nameAppend = "append 4 KiB and fsync"
	nameHTTP   = "net/http, decodes and forgets"
	nameSMTP   = "go-smtp, discards"
	nameSign   = "RSA-2048 signatures"
)

// entries are what is measured, in the order of a round.
func (b *bed) entries(dir string) (all []entry) {
	for _, n := range []int{1, runtime.NumCPU()} {
		all = append(all, entry{nameSign, n, func(n int) (s sample, err error) {
			s.accepted, s.cpu, err = bench.Signatures(n, *slice/2)
			return s, err
		}, nil})
	}
	signing := []limit{{key(nameSign, 1), "signing", 2}} // a message has two events
	for _, n := range clients {
		disk := limit{key(nameAppend, n), "append", 0}
		all = append(all,
			entry{nameAppend, n, func(n int) (s sample, err error) {
				s.accepted, err = bench.Appends(dir, n, bench.MessageSize, *slice/2)
				return s, err
			}, nil},
			entry{nameHTTP, n, func(n int) (sample, error) { return b.timed(b.floor, n, b.sender(b.floor, ""), nil) }, nil},
			entry{"SendEmail, no events", n, func(n int) (sample, error) {
				return b.timed(b.p, n, b.sender(b.p, ""), b.delivered)
			}, []limit{{key(nameHTTP, n), "net/http", 0}, disk}},
			entry{nameSMTP, n, func(n int) (sample, error) { return b.timed(b.floor, n, b.submitter(b.floor, ""), nil) }, nil},
			entry{"SMTP, no events", n, func(n int) (sample, error) {
				return b.timed(b.p, n, b.submitter(b.p, ""), b.delivered)
			}, []limit{{key(nameSMTP, n), "go-smtp", 0}, disk}},
			entry{"SendEmail, topic and queue", n, b.toQueue, signing},
			entry{"SendEmail, topic and HTTP endpoint", n, b.toHook, signing},
		)
	}
	return append(all, entry{"SendEmail, HTTP endpoint answers after 50 ms", 16, b.toSlowHook, signing})
}

type opener = func(client int) (func() error, func(), error)

func (b *bed) sender(p *bench.Process, set string) opener {
	return func(int) (func() error, func(), error) {
		s, err := bench.NewSender(p.HTTP, set)
		if err != nil {
			return nil, nil, err
		}
		return func() error { _, err := s.Send(); return err }, s.Close, nil
	}
}

func (b *bed) submitter(p *bench.Process, set string) opener {
	return func(int) (func() error, func(), error) {
		s, err := bench.NewSubmitter(p.SMTP, set)
		if err != nil {
			return nil, nil, err
		}
		return func() error { _, err := s.Send(); return err }, s.Close, nil
	}
}

// patience is how long things that follow may take.
const patience = time.Minute

// timed sends for a time, then waits for what follows: settled returns how many
// messages are through so far.
func (b *bed) timed(p *bench.Process, n int, open opener, settled func() (int, error)) (s sample, err error) {
	was := 0
	if settled != nil {
		if was, err = settled(); err != nil {
			return s, err
		}
	}
	began, cpu := time.Now(), p.CPU()
	sent, took, err := bench.Closed(n, *slice, open)
	if err != nil {
		return s, err
	}
	s.accepted = float64(sent) / took.Seconds()
	if settled != nil {
		if err := through(sent, func() (int, error) { now, err := settled(); return now - was, err }); err != nil {
			return s, err
		}
		s.completed = float64(sent) / time.Since(began).Seconds()
	}
	s.cpu = (p.CPU() - cpu) / time.Duration(sent)
	return s, nil
}

// fixed sends a number of messages with events and waits until all events
// arrived. It is a number and not a time because events take longer than
// messages: a fixed time would leave ever more of them.
func (b *bed) fixed(n, total int, set string, arrived func() (int, error)) (s sample, err error) {
	began, cpu := time.Now(), b.p.CPU()
	took, err := bench.Fixed(n, total, b.sender(b.p, set))
	if err != nil {
		return s, err
	}
	s.accepted = float64(total) / took.Seconds()
	if err := through(2*total, arrived); err != nil {
		return s, err
	}
	s.completed = float64(total) / time.Since(began).Seconds()
	s.cpu = (b.p.CPU() - cpu) / time.Duration(total)
	return s, nil
}

func through(want int, have func() (int, error)) error {
	got := 0
	ok, err := bench.Poll(patience, func() (bool, error) {
		var err error
		got, err = have()
		return got >= want, err
	})
	if err == nil && !ok {
		err = fmt.Errorf("%d of %d were through after %s", got, want, patience)
	}
	return err
}

// delivered is how many messages were delivered so far.
func (b *bed) delivered() (int, error) {
	n, err := b.api.Metric(`sestina_events_total{type="DELIVERY"}`)
	return int(n), err
}
