package work

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
)

// A Limiter bounds concurrency, and if asked the rate, per key: a host, a source
// address, whatever many lanes share. Keys are in memory only while they are in
// use. It may be used concurrently.
//
// A handler occupies a worker, of its lane and of the engine, while it waits in
// Acquire; a busy host must not fill the engine with waiting workers. So a
// handler tries TryAcquire, or Acquire with a short deadline, and otherwise
// returns Busy with a time a moment away: that writes nothing and burns no
// attempt.
//
//	release, ok := hosts.TryAcquire(host)
//	if !ok {
//		return work.Result{Unit: u, Verdict: work.Busy, Due: clk.Now().Add(200 * time.Millisecond)}
//	}
//	defer release()
type Limiter struct {
	perKey   func(key string) int
	clock    *clock.Clock
	interval time.Duration // between acquisitions of a key; 0 means no rate
	burst    int

	mu    sync.Mutex
	keys  map[string]*keyLimit
	sweep int // when there are this many keys, those that only wait out their rate are looked through
}

// keyLimit is the state of one key.
type keyLimit struct {
	held    int
	waiters list.List // of chan struct{}, closed when granted; first come, first served
	// next is when the key's bucket is full again: each acquisition moves it one
	// interval on.
	next time.Time
}

// A LimiterOption changes a Limiter.
type LimiterOption func(*Limiter)

// PerKey asks fn for a key's concurrency instead of the common number. Less than
// 1 means 1. fn is called under the limiter's lock and must return at once.
func PerKey(fn func(key string) int) LimiterOption {
	return func(l *Limiter) { l.perKey = fn }
}

// PerSecond also bounds the rate of acquisitions of a key: burst at once, then n
// a second on the average. n must be positive; burst less than 1 means 1.
func PerSecond(c *clock.Clock, n float64, burst int) LimiterOption {
	return func(l *Limiter) {
		l.clock, l.interval, l.burst = c, time.Duration(float64(time.Second)/n), max(burst, 1)
	}
}

// NewLimiter returns a limiter of perKey concurrent holders per key, at least 1.
func NewLimiter(perKey int, opts ...LimiterOption) *Limiter {
	l := &Limiter{
		perKey: func(string) int { return perKey },
		keys:   make(map[string]*keyLimit),
		sweep:  1024,
	}
	for _, o := range opts {
		o(l)
	}
	return l
}

// Acquire waits, first come, first served, until the key has a free place (and
// its rate allows), and returns the function that gives the place back, which
// may be called more than once. It fails only with the error of ctx.
func (l *Limiter) Acquire(ctx context.Context, key string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	k := l.key(key)
	if k.held < l.places(key) && k.waiters.Len() == 0 {
		k.held++
	} else {
		granted := make(chan struct{})
		me := k.waiters.PushBack(granted)
		l.mu.Unlock()
		select {
		case <-granted:
			l.mu.Lock()
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			select {
			case <-granted: // just now: pass it on
				k.held--
				l.grant(key, k)
			default:
				k.waiters.Remove(me)
			}
			l.drop(key, k)
			return nil, ctx.Err()
		}
	}
	at := l.book(k)
	l.mu.Unlock()
	if l.interval > 0 && !l.clock.SleepUntil(ctx, at, nil) {
		l.mu.Lock()
		k.next = k.next.Add(-l.interval)
		l.mu.Unlock()
		l.release(key, k)
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() { l.release(key, k) }), nil
}

// TryAcquire is Acquire without waiting: it reports whether there was a free
// place, nobody waited for it, and the rate allowed it.
func (l *Limiter) TryAcquire(key string) (release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.key(key)
	if k.held >= l.places(key) || k.waiters.Len() > 0 || !l.due(k) {
		l.drop(key, k)
		return nil, false
	}
	k.held++
	l.book(k)
	return sync.OnceFunc(func() { l.release(key, k) }), true
}

// Len tells how many keys are in memory.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweepKeys()
	return len(l.keys)
}

func (l *Limiter) places(key string) int { return max(l.perKey(key), 1) }

func (l *Limiter) key(key string) *keyLimit {
	k := l.keys[key]
	if k == nil {
		k = new(keyLimit)
		l.keys[key] = k
		if len(l.keys) >= l.sweep {
			l.sweepKeys()
			l.sweep = max(2*len(l.keys), 1024)
			l.keys[key] = k
		}
	}
	return k
}

// book takes the key's next time and returns when it comes.
func (l *Limiter) book(k *keyLimit) time.Time {
	if l.interval == 0 {
		return time.Time{}
	}
	if now := l.clock.Now(); k.next.Before(now) {
		k.next = now
	}
	at := k.next.Add(-time.Duration(l.burst-1) * l.interval)
	k.next = k.next.Add(l.interval)
	return at
}

// due reports whether the rate allows an acquisition now.
func (l *Limiter) due(k *keyLimit) bool {
	return l.interval == 0 || !k.next.Add(-time.Duration(l.burst-1)*l.interval).After(l.clock.Now())
}

func (l *Limiter) release(key string, k *keyLimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.held--
	l.grant(key, k)
	l.drop(key, k)
}

// grant gives free places to those who wait longest.
func (l *Limiter) grant(key string, k *keyLimit) {
	for k.waiters.Len() > 0 && k.held < l.places(key) {
		close(k.waiters.Remove(k.waiters.Front()).(chan struct{}))
		k.held++
	}
}

// drop forgets a key that nobody uses and whose rate is as if it never was.
func (l *Limiter) drop(key string, k *keyLimit) {
	if k.held == 0 && k.waiters.Len() == 0 && (l.interval == 0 || !k.next.After(l.clock.Now())) && l.keys[key] == k {
		delete(l.keys, key)
	}
}

func (l *Limiter) sweepKeys() {
	for key, k := range l.keys {
		l.drop(key, k)
	}
}
