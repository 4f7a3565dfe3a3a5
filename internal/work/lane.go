package work

import (
	"container/heap"
	"container/list"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

// A kind is a Kind with its lanes. The engine's mutex guards it.
type kind struct {
	Kind
	lanes   map[string]*lane // those with work, in the store or under way
	waiting laneHeap         // lanes that wait for a time
	// Lanes with due work and a free place, served in turn: first those without
	// a worker, then those that may have one more.
	ready, more list.List
	active      int // worker slots in use
	counts
}

func newKind(k Kind) *kind {
	if k.Batch == nil {
		k.Batch = func(string) int { return 1 }
	}
	if k.Concurrency == nil {
		k.Concurrency = func(string) int { return 4 }
	}
	if k.Backoff == nil {
		k.Backoff = Exponential(time.Second, 10*time.Minute)
	}
	ks := &kind{Kind: k, lanes: make(map[string]*lane), counts: newCounts()}
	ks.ready.Init()
	ks.more.Init()
	return ks
}

// queuedLanes is how many lanes wait for a worker slot.
func (k *kind) queuedLanes() int { return k.ready.Len() + k.more.Len() }

// pop returns the lane whose turn it is; there must be one.
func (k *kind) pop() *lane {
	q := &k.ready
	if q.Len() == 0 {
		q = &k.more
	}
	l := q.Remove(q.Front()).(*lane)
	l.queue, l.queued = nil, nil
	return l
}

// push puts a lane at the back of the list that fits it.
func (k *kind) push(l *lane) {
	l.queue = &k.ready
	if l.active > 0 {
		l.queue = &k.more
	}
	l.queued = l.queue.PushBack(l)
}

// lane returns the lane of that name, a new one when it is not in memory.
func (k *kind) lane(name string) *lane {
	l := k.lanes[name]
	if l == nil {
		l = &lane{kind: k, name: name, limit: 1, index: -1}
		k.lanes[name] = l
	}
	return l
}

// A lane is what the engine knows of a lane while it has work. It leaves memory
// when nothing is due, known to become due, or under way. The engine's mutex
// guards it.
type lane struct {
	kind *kind
	name string

	loaded bool            // state was read from the store
	state  store.LaneState // valid when loaded
	// epoch changes when the lane fails, is held or recovers. Results of workers
	// that began in another epoch say nothing about the lane's state: those who
	// fail together count as one failure.
	epoch   int
	change  uint64        // the engine's count at the last change of state
	saved   uint64        // the change that is stored
	saving  chan struct{} // held by who writes the state; made when needed
	probing bool          // the one unit that a failing lane may try is under way
	woken   bool          // HoldUntil is to be ignored and removed
	// wakes counts calls of Wake. A worker that began before one of them saw what
	// was before, and does not hold the lane again.
	wakes int

	limit    int // concurrency, as last asked
	active   int // worker slots in use
	refs     int // other uses that keep the lane in memory
	hasDue   bool
	due      time.Time // when the next unit is due, as far as known; valid with hasDue
	rest     time.Time // no claims before this; not stored
	setbacks int       // failed reads in a row
	empties  int       // claims in a row that found nothing although work was due

	at     time.Time     // key in the heap
	index  int           // in the heap, -1 outside
	queue  *list.List    // the list of ready lanes it is in, nil outside
	queued *list.Element // its place there
}

// expect notes that a unit is due at t.
func (l *lane) expect(t time.Time) {
	if !l.hasDue || t.Before(l.due) {
		l.hasDue, l.due = true, t
	}
}

// restUntil keeps the lane from being claimed until t.
func (l *lane) restUntil(t time.Time) {
	if t.After(l.rest) {
		l.rest = t
	}
}

// failing reports whether the lane's breaker is open.
func (l *lane) failing() bool { return l.state.Failures > 0 || !l.state.FailingSince.IsZero() }

// next is when the lane may be served, given that it has work.
func (l *lane) next() time.Time {
	t := l.due
	if l.rest.After(t) {
		t = l.rest
	}
	if l.state.HoldUntil.After(t) && !l.woken {
		t = l.state.HoldUntil
	}
	return t
}

// open reports whether one more worker may enter the lane. While its state is
// unknown, and while it fails, only one may.
func (l *lane) open() bool {
	switch {
	case !l.loaded:
		return l.active == 0
	case l.state.Paused || l.failing() && l.probing:
		return false
	}
	return l.active < l.limit
}

// place puts the lane where it belongs: to those that wait for a time, to those
// that are ready, or out of memory. A lane that is full or paused is in neither
// list; whoever changes that places it again.
func (e *Engine) place(l *lane, now time.Time) {
	k := l.kind
	if l.queue != nil {
		if l.queue == &k.more && l.active == 0 { // its last worker left
			l.queue.Remove(l.queued)
			k.push(l)
		}
		return // looked at when its turn comes
	}
	if l.index >= 0 {
		heap.Remove(&k.waiting, l.index)
	}
	switch {
	case !l.hasDue:
		if l.active == 0 && l.refs == 0 {
			delete(k.lanes, l.name)
		}
	case l.loaded && l.state.Paused:
	case l.next().After(now):
		l.at = l.next()
		heap.Push(&k.waiting, l)
		if l.at.Before(e.asleep) {
			e.signal()
		}
	case l.open():
		k.push(l)
	}
}

// dispatch starts workers for ready lanes as long as slots are free. Kinds, and
// lanes within a kind, take turns.
func (e *Engine) dispatch(now time.Time) {
	for e.running {
		k := e.pick()
		if k == nil {
			return
		}
		l := k.pop()
		if !l.hasDue || l.next().After(now) || !l.open() {
			e.place(l, now)
			continue
		}
		// The worker finds out what is due next. What commits tell from here on
		// is kept, so nothing is missed between its look and their telling.
		l.hasDue = false
		e.occupy(l, 1)
		e.wg.Go(func() { e.serve(l) })
	}
}

// pick returns the next kind that has a ready lane and may use a worker slot.
func (e *Engine) pick() *kind {
	for i := range e.kinds {
		k := e.kinds[(e.turn+i)%len(e.kinds)]
		if k.queuedLanes() > 0 && e.spare(k) > 0 {
			e.turn = (e.turn + i + 1) % len(e.kinds)
			return k
		}
	}
	return nil
}

// spare is how many worker slots a kind may still take: the free ones but for
// those set aside for other kinds.
func (e *Engine) spare(k *kind) int {
	n := e.free
	for _, other := range e.kinds {
		if other != k {
			n -= max(0, e.reserve-other.active)
		}
	}
	return n
}

// occupy takes n worker slots in the lane; a negative n gives them back.
func (e *Engine) occupy(l *lane, n int) {
	l.active += n
	l.kind.active += n
	e.free -= n
}

// takeIn moves what commits told to the lanes.
func (e *Engine) takeIn(now time.Time) {
	for key, due := range e.inbox.take() {
		if k := e.byID[key.kind]; k != nil {
			l := k.lane(key.name)
			l.expect(due)
			e.place(l, now)
		}
	}
}

// update runs fn on the engine's state and then sees to what changed: news from
// commits, the place of the lane, workers for what is ready.
func (e *Engine) update(l *lane, fn func(now time.Time)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	fn(now)
	e.takeIn(now)
	e.place(l, now)
	e.dispatch(now)
}

// laneHeap orders lanes by the time they wait for. It implements heap.Interface.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.index = -1
	return l
}
