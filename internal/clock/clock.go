// Package clock gives now and timers to everything that stamps, schedules or
// expires. In dev the clock can be moved forward (never back), and every
// sleeper wakes to look again; network timeouts, SigV4 skew and leases stay on
// real time. A lint rule forbids time.Now, time.After, time.Sleep and timers
// elsewhere.
package clock

import (
	"context"
	"sync"
	"time"
)

// A Clock tells the time. The zero value is the system's clock; it may be used
// concurrently.
type Clock struct {
	mu     sync.Mutex
	offset time.Duration
	moved  chan struct{} // closed and replaced when the clock moves
}

// New returns a clock that is offset ahead of the system's.
func New(offset time.Duration) *Clock { return &Clock{offset: max(offset, 0)} }

// Now returns the current time in UTC, cut to the millisecond, as everything
// that is stored or shown has that precision.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	off := c.offset
	c.mu.Unlock()
	return time.Now().Add(off).UTC().Truncate(time.Millisecond)
}

// Since returns the time passed since t.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Offset returns how far the clock is ahead of the system's.
func (c *Clock) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Advance moves the clock forward by d and wakes every sleeper. Negative d is
// ignored: the clock never goes back.
func (c *Clock) Advance(d time.Duration) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

// Moved returns a channel that is closed when the clock is next moved.
func (c *Clock) Moved() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved
}

// longestNap is how long SleepUntil sleeps before it looks at the clock again.
// Timers run on the monotonic clock, which stands still while the machine is
// suspended and does not follow a corrected wall clock.
const longestNap = 30 * time.Second

// SleepUntil waits until t, or until ctx ends or wake is signalled (wake may
// be nil). It reports whether t was reached. A moved clock is honoured.
func (c *Clock) SleepUntil(ctx context.Context, t time.Time, wake <-chan struct{}) bool {
	for {
		moved := c.Moved()
		d := t.Sub(c.Now())
		if d <= 0 {
			return true
		}
		timer := time.NewTimer(min(d, longestNap))
		select {
		case <-timer.C:
		case <-moved:
			timer.Stop()
		case <-wake:
			timer.Stop()
			return !c.Now().Before(t)
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// Stopwatch starts to measure and returns a function that tells the real time
// passed since, at full precision. It measures how long something took and is
// not for stamping or scheduling.
func Stopwatch() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
