package storetest

import (
	"slices"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var listenerTests = []test{
	{"WaitingUnitsNameTheirLanes", testLaneNotice},
	{"FinishedUnitsDoNot", testNoLaneNotice},
	{"RescheduledReleasedAndRedriven", testLaneNoticeAgain},
	{"QueuesAndEvents", testQueueNotice},
	{"DocumentsInOrderOfRevision", testDocumentNotice},
	{"NothingOfARefusedCommand", testNoNotice},
	{"HeardBeforeTheAnswer", testNoticeFirst},
}

func (e *env) listen() *recorder {
	r := &recorder{}
	e.Subscribe(r)
	return r
}

// due is the earliest notice of a lane.
func due(lanes []store.LaneDue, lane string) (t time.Time) {
	for _, l := range lanes {
		if l.Lane == lane && (t.IsZero() || l.Due.Before(t)) {
			t = l.Due
		}
	}
	return t
}

func testLaneNotice(e *env) {
	r := e.listen()
	late, early, elsewhere := e.unit("a"), e.unit("a"), e.unit("b")
	late.Due, early.Due = start.Add(time.Hour), start.Add(time.Minute)
	e.write(store.Effects{Units: []store.Unit{late, early, elsewhere}})
	c, _ := r.take()
	e.equal(due(c.Lanes, "a"), start.Add(time.Minute))
	e.equal(due(c.Lanes, "b"), start)
	e.equal(c.Lanes[0].Kind, store.KindPublication)
}

func testNoLaneNotice(e *env) {
	done := e.unit("a")
	done.State, done.FinishedAt = store.Done, start
	e.units("b", 1)
	r := e.listen()
	e.write(store.Effects{Units: []store.Unit{done}})
	e.do(&store.Finish{Unit: e.claim("b", 1)[0], State: store.Done, Attempts: 1, At: start})
	c, _ := r.take()
	e.equal(len(c.Lanes), 0)
}

func testLaneNoticeAgain(e *env) {
	r := e.listen()
	e.units("a", 1)
	u := e.claim("a", 1)[0]
	r.take()
	again := start.Add(5 * time.Minute)
	e.do(&store.Finish{Unit: u, State: store.Waiting, Due: again, Attempts: 1, At: start})
	c, _ := r.take()
	e.equal(due(c.Lanes, "a"), again)

	u = e.claim("a", 1)[0]
	e.do(&store.Finish{Unit: u, State: store.Waiting, Due: again, Lane: "b", Attempts: 2, At: start})
	c, _ = r.take()
	e.equal(due(c.Lanes, "b"), again)

	u = e.claim("b", 1)[0]
	e.do(&store.Release{Units: []store.Unit{u}})
	c, _ = r.take()
	e.equal(due(c.Lanes, "b"), again)

	e.die("b")
	r.take()
	now := start.Add(time.Hour)
	e.do(&store.Redrive{Kind: store.KindPublication, Scope: virginia, Now: now})
	c, _ = r.take()
	e.equal(due(c.Lanes, "b"), now)
}

func testQueueNotice(e *env) {
	r := e.listen()
	q1, q2, dead := e.id(), e.id(), e.id()
	ev := e.event(e.id())
	e.write(store.Effects{Queued: []store.QueueMessage{e.queued(q1)}, Events: []store.Event{ev}})
	c, _ := r.take()
	e.equal(c.Queues, []sestina.ID{q1})
	e.equal(c.Events, []store.Event{ev})

	e.send(q2, e.queued(q2))
	c, _ = r.take()
	e.equal(c.Queues, []sestina.ID{q2})

	m := e.receive(q2, 1)[0]
	r.take()
	e.do(&store.HideQueued{Queue: q2, Receipts: []store.Receipt{{ID: m.ID, Receipt: m.Receipt}}, Until: []time.Time{start}, Now: start})
	c, _ = r.take()
	e.equal(c.Queues, []sestina.ID{q2})

	e.do(&store.ReceiveQueued{Queue: q2, Max: 1, Now: start, Visibility: time.Minute, MaxReceives: 1, DeadLetter: dead})
	c, _ = r.take()
	e.equal(slices.Contains(c.Queues, dead), true)

	e.do(&store.MoveQueued{From: dead, To: q1, Max: 10, Now: start})
	c, _ = r.take()
	e.equal(slices.Contains(c.Queues, q1), true)
}

func testDocumentNotice(e *env) {
	r := e.listen()
	a := e.put(doc("a", `1`))
	b := e.put(doc("b", `1`))
	e.remove(a)
	_, docs := r.take()
	e.equal(names(docs), []string{"a", "b", "a"})
	e.equal(docs[0], a)
	e.equal(docs[1], b)
	e.equal(docs[2].Deleted, true)
	if docs[2].Revision <= b.Revision {
		e.t.Fatalf("revision %d of the deletion is not the newest", docs[2].Revision)
	}
}

func testNoNotice(e *env) {
	m := e.message()
	e.write(store.Effects{Messages: []store.NewMessage{m}})
	r := e.listen()
	bad := store.Effects{
		Units:    []store.Unit{e.unit("a")},
		Events:   []store.Event{e.event(m.ID)},
		Queued:   []store.QueueMessage{e.queued(e.id())},
		Messages: []store.NewMessage{m}, // there already
	}
	if e.Do(e.ctx, &store.Write{Effects: bad}) == nil {
		e.t.Fatal("the same message was added twice")
	}
	err := e.Update(e.ctx, func(tx store.Tx) error {
		if err := tx.Put(doc("a", `1`)); err != nil {
			return err
		}
		return tx.Apply(bad)
	})
	if err == nil {
		e.t.Fatal("the same message was added twice")
	}
	c, docs := r.take()
	e.equal(c, store.Change{})
	e.equal(len(docs), 0)
}

func testNoticeFirst(e *env) {
	r := e.listen()
	for n := range 20 {
		e.units(numbered("lane", n), 1)
		c, _ := r.take() // heard already, without waiting
		e.equal(len(c.Lanes), 1)
	}
}
