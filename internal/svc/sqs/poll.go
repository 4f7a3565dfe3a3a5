package sqs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// polls are the receivers that wait, by queue. A signal wakes one of them; who
// found messages passes the baton to the next, so that a thousand pollers of a
// queue do not all run for one message. The zero value is ready.
type polls struct {
	mu     sync.Mutex
	queues map[sestina.ID]*pollers
	ended  bool
}

// pollers are the receivers of one queue, kept while there are any.
type pollers struct {
	users   int
	signals uint64          // how often the queue was signalled
	waiting []chan struct{} // closed to wake; longest wait first
}

// enter says that a receiver begins to look at a queue; leave ends it.
func (p *polls) enter(id sestina.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queues == nil {
		p.queues = map[sestina.ID]*pollers{}
	}
	if p.queues[id] == nil {
		p.queues[id] = &pollers{}
	}
	p.queues[id].users++
}

// leave ends what enter began. pass wakes another receiver in one's place: for
// who took messages, since there may be more, and for who was woken but did
// not look.
func (p *polls) leave(id sestina.ID, pass bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[id]
	if pass {
		q.wakeOne()
	}
	if q.users--; q.users == 0 {
		delete(p.queues, id)
	}
}

// seen returns a mark of the signals so far. A receiver takes it before it
// looks, and wait then misses nothing.
func (p *polls) seen(id sestina.ID) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queues[id].signals
}

// wait returns when the queue was signalled since seen, when the clock reaches
// until, or when ctx or all polling ends. It reports whether to go on.
func (p *polls) wait(ctx context.Context, c *clock.Clock, id sestina.ID, seen uint64, until time.Time) bool {
	p.mu.Lock()
	q := p.queues[id]
	if p.ended || q.signals != seen {
		defer p.mu.Unlock()
		return !p.ended
	}
	ch := make(chan struct{})
	q.waiting = append(q.waiting, ch)
	p.mu.Unlock()

	c.SleepUntil(ctx, until, ch)

	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(q.waiting, ch); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return !p.ended && ctx.Err() == nil
}

// signal wakes one receiver of the queue. It never blocks.
func (p *polls) signal(id sestina.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.queues[id]; q != nil {
		q.signals++
		q.wakeOne()
	}
}

func (q *pollers) wakeOne() {
	if len(q.waiting) > 0 {
		close(q.waiting[0])
		q.waiting = slices.Delete(q.waiting, 0, 1)
	}
}

// end wakes everyone for good.
func (p *polls) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for _, q := range p.queues {
		for len(q.waiting) > 0 {
			q.wakeOne()
		}
	}
}
