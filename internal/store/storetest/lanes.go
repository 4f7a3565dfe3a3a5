package storetest

import (
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var laneTests = []test{
	{"LanesWithWorkAndTheirEarliestDue", testLanesWithWork},
	{"ManyLanes", testManyLanes},
	{"YieldMayUseTheStore", testYieldUsesStore},
	{"StateIsKept", testLaneState},
	{"BacklogCounts", testBacklog},
}

type foundLane struct {
	lane  string
	due   time.Time
	state store.LaneState
}

func (e *env) lanes() []foundLane {
	e.t.Helper()
	out := []foundLane{}
	e.ok(e.LanesWithWork(e.ctx, store.KindPublication, func(lane string, due time.Time, st store.LaneState) bool {
		out = append(out, foundLane{lane, due, st})
		return true
	}))
	return out
}

func testLanesWithWork(e *env) {
	e.equal(e.lanes(), []foundLane{})
	early, late := e.unit("b"), e.unit("b")
	early.Due, late.Due = start.Add(time.Second), start.Add(time.Hour)
	foreign := e.unit("x")
	foreign.Kind = store.KindDelivery
	e.write(store.Effects{Units: []store.Unit{late, early, e.unit("a"), e.unit(""), foreign}})
	e.units("done", 1)
	e.do(&store.Finish{Unit: e.claim("done", 1)[0], State: store.Done, At: start})
	e.units("dead", 1)
	e.die("dead")
	held := store.LaneState{HoldUntil: start.Add(time.Minute), Failures: 3}
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: "b", State: held})
	e.do(&store.SetLane{Kind: store.KindDelivery, Lane: "a", State: held})
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: "no work", State: held})
	e.equal(e.lanes(), []foundLane{{"", start, store.LaneState{}}, {"a", start, store.LaneState{}}, {"b", early.Due, held}})

	n := 0
	e.ok(e.LanesWithWork(e.ctx, store.KindPublication, func(string, time.Time, store.LaneState) bool {
		n++
		return false
	}))
	e.equal(n, 1)
}

func testManyLanes(e *env) {
	const n = 700
	var units []store.Unit
	var want []foundLane
	for i := range n {
		lane := numbered("lane", i)
		want = append(want, foundLane{lane: lane, due: start})
		for range 3 {
			units = append(units, e.unit(lane))
		}
	}
	e.write(store.Effects{Units: units})
	e.equal(e.lanes(), want)
}

func testYieldUsesStore(e *env) {
	for i := range 20 {
		e.units(numbered("lane", i), 1)
	}
	// More walks at once than an engine has connections to read with.
	parallel(12, func(int) {
		err := e.LanesWithWork(e.ctx, store.KindPublication, func(lane string, _ time.Time, _ store.LaneState) bool {
			if _, err := e.Backlog(e.ctx, store.KindPublication, lane); err != nil {
				e.t.Errorf("backlog of %s: %v", lane, err)
			}
			return true
		})
		if err != nil {
			e.t.Errorf("walk: %v", err)
		}
	})
}

func testLaneState(e *env) {
	const lane = "a"
	get := func() store.LaneState {
		st, err := e.Lane(e.ctx, store.KindPublication, lane)
		e.ok(err)
		return st
	}
	e.equal(get(), store.LaneState{})
	want := store.LaneState{
		HoldUntil: start.Add(time.Minute), FailingSince: start, Failures: 4, Paused: true, LastError: "connection refused",
	}
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: lane, State: want})
	e.equal(get(), want)
	paused := store.LaneState{Paused: true}
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: lane, State: paused})
	e.equal(get(), paused)
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: lane})
	e.equal(get(), store.LaneState{})
}

func testBacklog(e *env) {
	get := func(lane string) store.Backlog {
		b, err := e.Backlog(e.ctx, store.KindPublication, lane)
		e.ok(err)
		return b
	}
	e.equal(get("l"), store.Backlog{})
	units := e.units("l", 5)
	old := e.unit("l")
	old.ID, old.Due = idAt(start.Add(-time.Hour)), start.Add(time.Hour)
	e.write(store.Effects{Units: []store.Unit{old}})
	e.units("other", 2)
	e.equal(get("l"), store.Backlog{Waiting: 6, Oldest: start.Add(-time.Hour)})
	held := e.claim("l", 2) // held units still wait
	e.equal(idsOf(held), idsOf(units[:2]))
	e.do(&store.Finish{Unit: held[0], State: store.Dead, At: start})
	e.do(&store.Finish{Unit: held[1], State: store.Done, At: start})
	e.equal(get("l"), store.Backlog{Waiting: 4, Dead: 1, Oldest: start.Add(-time.Hour)})
}

var deadTests = []test{
	{"PagedByScopeAndLane", testDeadUnits},
	{"RedrivenByName", testRedriveNamed},
	{"RedrivenByLaneUpToALimit", testRedriveLane},
	{"RedrivenInAnyNumber", testRedriveMany},
	{"RedriveStaysInItsScope", testRedriveScope},
	{"RedriveKeepsWhatHappened", testRedriveHistory},
}

func (e *env) dead(s sestina.Scope, lane string, after sestina.ID, limit int) []sestina.ID {
	e.t.Helper()
	units, err := e.DeadUnits(e.ctx, s, store.KindPublication, lane, after, limit)
	e.ok(err)
	return idsOf(units)
}

func testDeadUnits(e *env) {
	a, b := e.units("a", 3), e.units("b", 2)
	waiting := e.units("a-waiting", 1)
	foreign := e.unit("a")
	foreign.Scope = ireland
	e.write(store.Effects{Units: []store.Unit{foreign}})
	e.die("a")
	e.die("b")
	all := append(idsOf(a), idsOf(b)...)
	e.equal(e.dead(virginia, "", sestina.ID{}, 10), all)
	e.equal(e.dead(virginia, "", all[1], 2), all[2:4])
	e.equal(e.dead(virginia, "a", all[0], 10), all[1:3])
	e.equal(e.dead(virginia, "b", sestina.ID{}, 1), all[3:4])
	e.equal(e.dead(ireland, "", sestina.ID{}, 10), []sestina.ID{foreign.ID})
	e.equal(e.dead(ireland, "b", sestina.ID{}, 10), []sestina.ID{})
	e.equal(e.dead(other, "", sestina.ID{}, 10), []sestina.ID{})
	e.equal(e.dead(virginia, waiting[0].Lane, sestina.ID{}, 10), []sestina.ID{})
}

func testRedriveNamed(e *env) {
	a := e.units("a", 3)
	waiting := e.units("b", 1)[0]
	e.die("a")
	now := start.Add(30 * time.Minute)
	r := &store.Redrive{Kind: store.KindPublication, Scope: virginia, Now: now,
		IDs: []sestina.ID{a[1].ID, waiting.ID, e.id()}}
	e.do(r)
	e.equal(r.Count, 1)
	got := e.claim("a", 10)
	e.equal(idsOf(got), []sestina.ID{a[1].ID})
	e.equal(got[0].Due, now)
	e.equal(got[0].State, store.Waiting)
	e.equal(got[0].FinishedAt.IsZero(), true)
	e.equal(e.dead(virginia, "", sestina.ID{}, 10), []sestina.ID{a[0].ID, a[2].ID})
}

func testRedriveLane(e *env) {
	a := e.units("a", 4)
	e.units("b", 1)
	e.die("a")
	e.die("b")
	r := &store.Redrive{Kind: store.KindPublication, Scope: virginia, Lane: "a", Now: start, Limit: 3}
	e.do(r)
	e.equal(r.Count, 3)
	e.equal(idsOf(e.claim("a", 10)), idsOf(a[:3]))
	e.equal(len(e.claim("b", 10)), 0)
	r = &store.Redrive{Kind: store.KindPublication, Scope: virginia, Now: start}
	e.do(r)
	e.equal(r.Count, 2)
	e.equal(len(e.claim("b", 10)), 1)
}

func testRedriveMany(e *env) {
	const n = 1203
	units := make([]store.Unit, n)
	ids := make([]sestina.ID, n)
	for i := range units {
		units[i] = e.unit("l")
		units[i].State, units[i].FinishedAt = store.Dead, start
		ids[i] = units[i].ID
	}
	e.write(store.Effects{Units: units})
	r := &store.Redrive{Kind: store.KindPublication, Scope: virginia, IDs: ids[:700], Now: start}
	e.do(r)
	e.equal(r.Count, 700)
	r = &store.Redrive{Kind: store.KindPublication, Scope: virginia, Now: start}
	e.do(r)
	e.equal(r.Count, n-700)
	b, err := e.Backlog(e.ctx, store.KindPublication, "l")
	e.ok(err)
	e.equal([]int{b.Waiting, b.Dead}, []int{n, 0})
}

func testRedriveScope(e *env) {
	a := e.units("a", 1)
	e.die("a")
	for _, r := range []store.Redrive{
		{Kind: store.KindPublication, Scope: ireland},
		{Kind: store.KindPublication, Scope: other, IDs: idsOf(a)},
		{Kind: store.KindPublication, IDs: idsOf(a)},
		{Kind: store.KindDelivery, Scope: virginia},
		{Kind: store.KindPublication, Scope: virginia, Lane: "b", IDs: idsOf(a)},
	} {
		r.Now = start
		e.do(&r)
		e.equal(r.Count, 0)
	}
	e.equal(len(e.claim("a", 10)), 0)
}

func testRedriveHistory(e *env) {
	u := e.try(e.one(), "451 first", false)
	e.do(&store.Finish{Unit: u, State: store.Dead, Attempts: 2, At: start.Add(time.Minute), Took: time.Second, Answer: "550 no"})
	e.do(&store.Redrive{Kind: u.Kind, Scope: u.Scope, IDs: []sestina.ID{u.ID}, Now: start})
	u = e.claim(u.Lane, 1)[0]
	e.equal(u.Attempts, 2)
	e.do(&store.Finish{Unit: u, State: store.Done, Attempts: 3, At: start.Add(time.Hour), Answer: "250 ok"})
	got := e.attempts(u)
	e.equal(len(got), 2)
	e.equal(got[1], store.Attempt{Unit: u.ID, N: 2, At: start.Add(time.Minute), Took: time.Second, Answer: "550 no"})
	e.equal(e.stored(u).Answer, "250 ok")
}
