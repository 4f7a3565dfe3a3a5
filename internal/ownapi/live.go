package ownapi

import (
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

// liveBuffer is how many events a listener may be behind before it is cut off.
const liveBuffer = 4096

// live hands new events to whoever listens now.
type live struct {
	mu        sync.Mutex
	listeners map[chan store.Event]struct{}
	ended     bool
}

// listen returns a channel of new events, closed when the listener is too far
// behind, and a function that ends it.
func (l *live) listen() (<-chan store.Event, func()) {
	ch := make(chan store.Event, liveBuffer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		close(ch)
		return ch, func() {}
	}
	if l.listeners == nil {
		l.listeners = map[chan store.Event]struct{}{}
	}
	l.listeners[ch] = struct{}{}
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drop(ch)
	}
}

func (l *live) drop(ch chan store.Event) {
	if _, ok := l.listeners[ch]; ok {
		delete(l.listeners, ch)
		close(ch)
	}
}

// EndStreams ends all streams and waits, so that a shutdown need not wait for
// them. Streams begun later end at once.
func (a *API) EndStreams() {
	a.live.mu.Lock()
	defer a.live.mu.Unlock()
	a.live.ended = true
	for ch := range a.live.listeners {
		a.live.drop(ch)
	}
}

// otherNodes returns a channel that signals when it is time to look for what
// other nodes did, or nil when there are none.
func (a *API) otherNodes() <-chan time.Time {
	if !a.Shared {
		return nil
	}
	return time.After(500 * time.Millisecond) //permit:time.After polls the database, nothing is stamped
}

// Committed implements store.Listener.
func (a *API) Committed(c store.Change) {
	if len(c.Events) == 0 {
		return
	}
	a.live.mu.Lock()
	defer a.live.mu.Unlock()
	for ch := range a.live.listeners {
		for _, e := range c.Events {
			select {
			case ch <- e:
				continue
			default:
				a.live.drop(ch)
			}
			break
		}
	}
}

// DocumentsChanged implements store.Listener.
func (a *API) DocumentsChanged([]store.Document) {}
