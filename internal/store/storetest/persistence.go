package storetest

import (
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var persistenceTests = []struct {
	name string
	run  func(e *env, reopen func())
}{
	{"EverythingAnsweredIsThere", testPersisted},
	{"ClaimsEndWithTheStore", testPersistedClaims},
	{"SequenceAndRevisionGoOnRising", testPersistedCounters},
}

func testPersisted(e *env, reopen func()) {
	a := e.past(start, store.Waiting)
	large, q := e.id(), e.id()
	e.accept(large, bytesOf(store.InlineBody*3))
	e.fill(q, 1)
	d := e.put(doc("a", `{"n":1}`))
	st := store.LaneState{Paused: true, LastError: "x"}
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: "lane", State: st})
	reopen()
	e.equal(e.left(a), "MBEUVA")
	e.equal(e.body(large), bytesOf(store.InlineBody*3))
	e.equal(e.lanes(), []foundLane{{"lane", start, st}})
	got, err := e.Get(e.ctx, virginia, kind, "a")
	e.ok(err)
	e.equal(got, d)
	e.equal(len(e.receive(q, 10)), 1)
}

func testPersistedClaims(e *env, reopen func()) {
	e.units("l", 2)
	old := e.claim("l", 2)
	reopen()
	again := e.claim("l", 2)
	e.equal(idsOf(again), idsOf(old))
	e.is(e.Do(e.ctx, &store.Finish{Unit: old[0], State: store.Done, At: start}), store.ErrFenced)
	e.do(&store.Finish{Unit: again[0], State: store.Done, Attempts: 1, At: start.Add(time.Second)})
}

func testPersistedCounters(e *env, reopen func()) {
	q := e.id()
	seq := e.send(q, e.queued(q))[0].Seq
	e.do(&store.PurgeQueued{Queue: q})
	d := e.put(doc("a", `1`))
	e.remove(d)
	last := d.Revision + 1
	reopen()
	if next := e.send(q, e.queued(q))[0].Seq; next <= seq {
		e.t.Errorf("sequence went from %d to %d", seq, next)
	}
	again := e.put(doc("a", `1`))
	if again.Revision <= last {
		e.t.Errorf("revision went from %d to %d", last, again.Revision)
	}
	changed, err := e.Changed(e.ctx, last, 10)
	e.ok(err)
	e.equal(changed, []store.Document{again})
	e.equal(changed[0].Scope, sestina.Scope{Account: "000000000000", Region: "us-east-1"})
}
