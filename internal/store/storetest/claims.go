package storetest

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var claimTests = []test{
	{"InOrderOfDueThenID", testClaimOrder},
	{"OnlyWhatIsDue", testClaimDue},
	{"OnlyItsLaneAndKind", testClaimLane},
	{"HeldUnitsAreNotHandedOut", testClaimHeld},
	{"ParallelClaimersNeverShare", testClaimParallel},
	{"FinishedUnitsAreNotHandedOutAgain", testClaimWhileFinishing},
	{"ReleasedUnitsAreFreeAtOnce", testRelease},
	{"NextDueLeavesOutHeldUnits", testNextDue},
}

func testClaimOrder(e *env) {
	a, b, c, d := e.unit("l"), e.unit("l"), e.unit("l"), e.unit("l")
	a.Due, b.Due, c.Due, d.Due = start.Add(2), start.Add(time.Second), start, start
	e.write(store.Effects{Units: []store.Unit{a, b, d, c}})
	e.equal(idsOf(e.claim("l", 3)), []sestina.ID{a.ID, c.ID, d.ID}) // a is due in the same millisecond
	got := e.claim("l", 3)
	e.equal(idsOf(got), []sestina.ID{b.ID})
	b.Token = got[0].Token
	e.equal(got[0], b)
	if b.Token == 0 {
		e.t.Fatal("a claimed unit has no token")
	}
}

func testClaimDue(e *env) {
	units := e.units("l", 3)
	got, err := e.Claim(e.ctx, store.KindPublication, "l", units[1].Due, 10)
	e.ok(err)
	e.equal(idsOf(got), idsOf(units[:2]))
	got, err = e.Claim(e.ctx, store.KindPublication, "l", units[2].Due, 10)
	e.ok(err)
	e.equal(idsOf(got), idsOf(units[2:]))
}

func testClaimLane(e *env) {
	e.units("a", 1)
	u := e.unit("a")
	u.Kind = store.KindDelivery
	e.write(store.Effects{Units: []store.Unit{u}})
	e.equal(len(e.claim("b", 10)), 0)
	e.equal(len(e.claim("a", 10)), 1)
	got, err := e.Claim(e.ctx, store.KindDelivery, "a", start, 10)
	e.ok(err)
	e.equal(idsOf(got), []sestina.ID{u.ID})
}

func testClaimHeld(e *env) {
	units := e.units("l", 5)
	e.equal(idsOf(e.claim("l", 2)), idsOf(units[:2]))
	e.equal(idsOf(e.claim("l", 2)), idsOf(units[2:4]))
	e.equal(idsOf(e.claim("l", 2)), idsOf(units[4:]))
	e.equal(len(e.claim("l", 2)), 0)
}

func testClaimParallel(e *env) {
	const n, claimers = 200, 8
	e.units("l", n)
	var mu sync.Mutex
	seen := map[sestina.ID]int{}
	parallel(claimers, func(i int) {
		for {
			units, err := e.Claim(e.ctx, store.KindPublication, "l", start.Add(time.Hour), 1+i)
			if err != nil {
				e.t.Errorf("claim: %v", err)
				return
			}
			if len(units) == 0 {
				return
			}
			mu.Lock()
			for _, u := range units {
				seen[u.ID]++
			}
			mu.Unlock()
		}
	})
	e.equal(len(seen), n)
	for id, times := range seen {
		if times != 1 {
			e.t.Errorf("unit %s was handed out %d times", id, times)
		}
	}
}

// Claimers and finishers at once: every unit is tried exactly the planned
// number of times, though each end of a claim races with others' claims.
func testClaimWhileFinishing(e *env) {
	const n, claimers, tries = 40, 8, 3
	e.units("l", n)
	var mu sync.Mutex
	tried := map[sestina.ID]int{}
	var open atomic.Int64
	open.Store(n)
	parallel(claimers, func(int) {
		for open.Load() > 0 {
			units, err := e.Claim(e.ctx, store.KindPublication, "l", start.Add(time.Hour), 3)
			if err != nil {
				e.t.Errorf("claim: %v", err)
				return
			}
			if len(units) == 0 {
				runtime.Gosched()
			}
			for _, u := range units {
				mu.Lock()
				tried[u.ID]++
				n := tried[u.ID]
				mu.Unlock()
				if u.Attempts != n-1 {
					e.t.Errorf("unit %s was handed out with %d attempts for try %d", u.ID, u.Attempts, n)
				}
				f := &store.Finish{Unit: u, State: store.Waiting, Due: start, Attempts: u.Attempts + 1, At: start}
				if f.Attempts == tries {
					f.State = store.Done
				}
				if err := e.Do(e.ctx, f); err != nil {
					e.t.Errorf("finish: %v", err)
				}
				if f.State == store.Done {
					open.Add(-1)
				}
			}
		}
	})
	e.equal(len(tried), n)
	for id, times := range tried {
		if times != tries {
			e.t.Errorf("unit %s was tried %d times", id, times)
		}
	}
}

func testRelease(e *env) {
	e.units("l", 2)
	held := e.claim("l", 2)
	e.do(&store.Release{Units: held[:1]})
	again := e.claim("l", 2)
	e.equal(idsOf(again), idsOf(held[:1]))
	if again[0].Token == held[0].Token {
		e.t.Fatal("two leases have the same token")
	}
	e.equal(again[0].Attempts, 0)
	// A lease that is over has nothing to give back.
	e.do(&store.Release{Units: held[:1]})
	e.equal(len(e.claim("l", 2)), 0)
	e.is(e.Do(e.ctx, &store.Finish{Unit: held[0], State: store.Done, At: start}), store.ErrFenced)
	e.do(&store.Finish{Unit: again[0], State: store.Done, Attempts: 1, At: start})
}

func testNextDue(e *env) {
	_, err := e.NextDue(e.ctx, store.KindPublication, "l")
	e.is(err, store.ErrNotFound)
	units := e.units("l", 3)
	e.claim("l", 2)
	next, err := e.NextDue(e.ctx, store.KindPublication, "l")
	e.ok(err)
	e.equal(next, units[2].Due)
	last := e.claim("l", 1)
	_, err = e.NextDue(e.ctx, store.KindPublication, "l")
	e.is(err, store.ErrNotFound)
	e.do(&store.Release{Units: last})
	next, err = e.NextDue(e.ctx, store.KindPublication, "l")
	e.ok(err)
	e.equal(next, units[2].Due)
}
