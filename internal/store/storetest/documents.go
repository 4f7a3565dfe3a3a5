package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var documentTests = []test{
	{"PutAndGet", testPutAndGet},
	{"ReplaceRaisesVersionAndRevision", testReplace},
	{"StaleVersionIsRefused", testStaleVersion},
	{"DeleteLeavesTombstone", testTombstone},
	{"CreatedAgainStartsAtVersionOne", testCreatedAgain},
	{"ListInByteOrderWithPaging", testListDocuments},
	{"ScopesAreSeparate", testDocumentScopes},
	{"ErrorRollsBackAndIsUnchanged", testUpdateError},
	{"PanicRollsBackAndOthersGoOn", testUpdatePanic},
	{"ReadsItsOwnWrites", testUpdateReads},
	{"EffectsInTheSameTransaction", testUpdateEffects},
	{"ConcurrentChangesLoseNothing", testConcurrentUpdates},
	{"ChangedGivesEveryRevisionOnce", testChanged},
	{"EndedContext", testUpdateContext},
}

const kind = "thing"

// put writes a document and returns it as it is stored.
func (e *env) put(d store.Document) store.Document {
	e.t.Helper()
	e.ok(e.Update(e.ctx, func(tx store.Tx) error { return tx.Put(d) }))
	got, err := e.Get(e.ctx, d.Scope, d.Kind, d.Name)
	e.ok(err)
	return got
}

func (e *env) remove(d store.Document) {
	e.t.Helper()
	e.ok(e.Update(e.ctx, func(tx store.Tx) error { return tx.Delete(d.Scope, d.Kind, d.Name, d.Version) }))
}

func doc(name, data string) store.Document {
	return store.Document{Scope: virginia, Kind: kind, Name: name, Data: []byte(data)}
}

func testPutAndGet(e *env) {
	_, err := e.Get(e.ctx, virginia, kind, "a")
	e.is(err, store.ErrNotFound)
	got := e.put(doc("a", `{"n":1}`))
	want := doc("a", `{"n":1}`)
	want.Version, want.Revision = 1, got.Revision
	e.equal(got, want)
	if got.Revision < 1 {
		e.t.Fatalf("revision is %d", got.Revision)
	}
	installation := e.put(store.Document{Kind: "setting", Name: "x", Data: []byte(`1`)})
	e.equal(installation.Scope, sestina.Scope{})
}

func testReplace(e *env) {
	one := e.put(doc("a", `1`))
	next := one
	next.Data = []byte(`2`)
	two := e.put(next)
	e.equal(two.Version, int64(2))
	e.equal(string(two.Data), `2`)
	if two.Revision <= one.Revision {
		e.t.Fatalf("revision went from %d to %d", one.Revision, two.Revision)
	}
}

func testStaleVersion(e *env) {
	one := e.put(doc("a", `1`))
	e.put(one) // version 2
	update := func(fn func(store.Tx) error) error { return e.Update(e.ctx, fn) }
	e.is(update(func(tx store.Tx) error { return tx.Put(one) }), store.ErrConflict)
	e.is(update(func(tx store.Tx) error { return tx.Put(doc("a", `x`)) }), store.ErrConflict)
	missing := doc("missing", `x`)
	missing.Version = 1
	e.is(update(func(tx store.Tx) error { return tx.Put(missing) }), store.ErrConflict)
	e.is(update(func(tx store.Tx) error { return tx.Delete(virginia, kind, "a", 1) }), store.ErrConflict)
	e.is(update(func(tx store.Tx) error { return tx.Delete(virginia, kind, "missing", 1) }), store.ErrNotFound)
	got, err := e.Get(e.ctx, virginia, kind, "a")
	e.ok(err)
	e.equal(string(got.Data), `1`)
}

func testTombstone(e *env) {
	d := e.put(doc("a", `1`))
	e.remove(d)
	_, err := e.Get(e.ctx, virginia, kind, "a")
	e.is(err, store.ErrNotFound)
	list, err := e.List(e.ctx, virginia, kind, "", 10)
	e.ok(err)
	e.equal(len(list), 0)
	e.is(e.Update(e.ctx, func(tx store.Tx) error { return tx.Delete(virginia, kind, "a", d.Version+1) }), store.ErrNotFound)
	changed, err := e.Changed(e.ctx, d.Revision, 10)
	e.ok(err)
	e.equal(len(changed), 1)
	gone := changed[0]
	e.equal(gone.Name, "a")
	e.equal(gone.Deleted, true)
	e.equal(gone.Data == nil, true)
}

func testCreatedAgain(e *env) {
	first := e.put(doc("a", `1`))
	e.remove(first)
	again := e.put(doc("a", `2`))
	e.equal(again.Version, int64(1))
	e.equal(again.Deleted, false)
	if again.Revision <= first.Revision+1 {
		e.t.Fatalf("revision %d is not newer than the deletion", again.Revision)
	}
}

func testListDocuments(e *env) {
	sorted := []string{"A", "B", "a", "a b", "a-", "ab", "z", "é", "日本"}
	e.ok(e.Update(e.ctx, func(tx store.Tx) error {
		for _, i := range []int{4, 8, 0, 7, 2, 6, 1, 5, 3} {
			if err := tx.Put(doc(sorted[i], `1`)); err != nil {
				return err
			}
		}
		return tx.Put(store.Document{Scope: virginia, Kind: "thing2", Name: "AA", Data: []byte(`1`)})
	}))
	all, err := e.List(e.ctx, virginia, kind, "", 100)
	e.ok(err)
	e.equal(names(all), sorted)
	page, err := e.List(e.ctx, virginia, kind, "a", 3)
	e.ok(err)
	e.equal(names(page), sorted[3:6])
	end, err := e.List(e.ctx, virginia, kind, "日本", 3)
	e.ok(err)
	e.equal(len(end), 0)
}

func testDocumentScopes(e *env) {
	e.put(doc("a", `1`))
	for _, s := range []sestina.Scope{ireland, other, {}} {
		_, err := e.Get(e.ctx, s, kind, "a")
		e.is(err, store.ErrNotFound)
		list, err := e.List(e.ctx, s, kind, "", 10)
		e.ok(err)
		e.equal(len(list), 0)
		e.ok(e.Update(e.ctx, func(tx store.Tx) error {
			n, err := tx.Count(s, kind)
			if err == nil && n != 0 {
				err = errors.New("counted another scope's document")
			}
			return err
		}))
		mine := doc("a", `2`)
		mine.Scope = s
		e.equal(e.put(mine).Version, int64(1))
	}
}

func testUpdateError(e *env) {
	mine := errors.New("mine")
	m := e.message()
	err := e.Update(e.ctx, func(tx store.Tx) error {
		if err := tx.Put(doc("a", `1`)); err != nil {
			return err
		}
		if err := tx.Apply(store.Effects{Messages: []store.NewMessage{m}}); err != nil {
			return err
		}
		return mine
	})
	if err != mine { // unchanged, not wrapped
		e.t.Fatalf("error is %v", err)
	}
	_, err = e.Get(e.ctx, virginia, kind, "a")
	e.is(err, store.ErrNotFound)
	_, err = e.Message(e.ctx, virginia, m.ID)
	e.is(err, store.ErrNotFound)
	e.put(doc("a", `2`))
}

func testUpdatePanic(e *env) {
	err := e.Update(e.ctx, func(tx store.Tx) error {
		if err := tx.Put(doc("a", `1`)); err != nil {
			return err
		}
		panic("a fault in the caller")
	})
	if err == nil {
		e.t.Fatal("a panic was answered with success")
	}
	_, err = e.Get(e.ctx, virginia, kind, "a")
	e.is(err, store.ErrNotFound)
	e.put(doc("a", `2`))
}

func testUpdateReads(e *env) {
	e.put(doc("b", `1`))
	e.ok(e.Update(e.ctx, func(tx store.Tx) error {
		if err := tx.Put(doc("a", `1`)); err != nil {
			return err
		}
		d, err := tx.Get(virginia, kind, "a")
		if err != nil {
			return err
		}
		e.equal(d.Version, int64(1))
		list, err := tx.List(virginia, kind, "", 10)
		if err != nil {
			return err
		}
		e.equal(names(list), []string{"a", "b"})
		if err := tx.Delete(virginia, kind, "b", 1); err != nil {
			return err
		}
		n, err := tx.Count(virginia, kind)
		e.equal(n, 1)
		return err
	}))
}

func testUpdateEffects(e *env) {
	u := e.unit("lane")
	e.ok(e.Update(e.ctx, func(tx store.Tx) error {
		if err := tx.Put(doc("a", `1`)); err != nil {
			return err
		}
		return tx.Apply(store.Effects{Units: []store.Unit{u}})
	}))
	e.equal(idsOf(e.claim("lane", 10)), []sestina.ID{u.ID})
}

func testConcurrentUpdates(e *env) {
	e.put(doc("counter", ``))
	const callers, rounds = 8, 10
	parallel(callers, func(int) {
		for range rounds {
			for {
				d, err := e.Get(e.ctx, virginia, kind, "counter")
				if err == nil {
					d.Data = append(d.Data, 'x')
					err = e.Update(e.ctx, func(tx store.Tx) error { return tx.Put(d) })
				}
				if err == nil {
					break
				}
				if !errors.Is(err, store.ErrConflict) {
					e.t.Errorf("update: %v", err)
					return
				}
			}
		}
	})
	d, err := e.Get(e.ctx, virginia, kind, "counter")
	e.ok(err)
	e.equal(len(d.Data), callers*rounds)
	e.equal(d.Version, int64(callers*rounds+1))
}

// A reader that always asks for what is newer than its revision, while others
// write, ends with every document's newest version.
func testChanged(e *env) {
	const writers, each = 4, 15
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for n := range each {
				d := doc(numbered("w", w)+numbered("-", n%5), numbered("", n))
				err := e.Update(e.ctx, func(tx store.Tx) error {
					if old, err := tx.Get(d.Scope, d.Kind, d.Name); err == nil {
						d.Version = old.Version
					}
					return tx.Put(d)
				})
				if err != nil {
					e.t.Errorf("update: %v", err)
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { done.Wait(); close(finished) }()
	latest := map[string]store.Document{}
	since := int64(0)
	for last := false; ; {
		docs, err := e.Changed(e.ctx, since, 7)
		e.ok(err)
		for _, d := range docs {
			if d.Revision <= since {
				e.t.Fatalf("revision %d came after %d", d.Revision, since)
			}
			since = d.Revision
			latest[d.Name] = d
		}
		if len(docs) > 0 {
			continue
		}
		if last {
			break
		}
		select {
		case <-finished:
			last = true
		default:
		}
	}
	all, err := e.List(e.ctx, virginia, kind, "", 1000)
	e.ok(err)
	e.equal(len(all), writers*5)
	for _, d := range all {
		e.equal(latest[d.Name], d)
	}
}

func testUpdateContext(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	e.is(e.Update(ctx, func(tx store.Tx) error { return tx.Put(doc("a", `1`)) }), context.Canceled)
	_, err := e.Get(e.ctx, virginia, kind, "a")
	e.is(err, store.ErrNotFound)
}
