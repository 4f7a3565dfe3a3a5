package storetest

import (
	"bytes"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var sweepTests = []test{
	{"ZeroTimesKeepEverything", testSweepNothing},
	{"FinishedUnitsAndTheirAttempts", testSweepUnits},
	{"WaitingUnitsKeepWhatTheyNeed", testSweepNeeded},
	{"DeadLettersKeepWhatTheyNeed", testSweepDead},
	{"BodiesWithoutWaitingDelivery", testSweepBodies},
	{"InboxByCount", testInboxCount},
	{"InboxByBytes", testInboxBytes},
	{"MessagesAfterTheirEvents", testSweepMessages},
	{"AnyNumberOfRows", testSweepMany},
}

// aged are the rows of one email of a time.
type aged struct {
	message  sestina.ID
	event    store.Event
	unit     store.Unit // a publication, about the event and with the envelope
	envelope sestina.ID
}

// past adds the rows of an email accepted at a time. Its unit is in the state,
// finished a minute later.
func (e *env) past(at time.Time, state store.State) aged {
	e.t.Helper()
	a := aged{message: idAt(at), envelope: idAt(at)}
	a.event = store.Event{ID: idAt(at), Scope: virginia, MessageID: a.message, Type: sestina.Send, At: at, Object: []byte(`{}`)}
	a.unit = e.unit("lane")
	a.unit.ID, a.unit.MessageID, a.unit.EventID, a.unit.Envelope = idAt(at), a.message, a.event.ID, a.envelope
	if a.unit.State = state; state != store.Waiting {
		a.unit.FinishedAt = at.Add(time.Minute)
	}
	e.write(store.Effects{
		Messages: []store.NewMessage{messageWith(a.message)}, Events: []store.Event{a.event}, Units: []store.Unit{a.unit},
		Envelopes: []store.Envelope{{ID: a.envelope, Scope: virginia, Data: []byte(`{}`)}},
		Attempts:  []store.Attempt{{Unit: a.unit.ID, N: 1, At: at, Answer: "x"}},
	})
	return a
}

// left says which rows of an email are there: message, body, event, unit,
// envelope, attempt.
func (e *env) left(a aged) (out string) {
	e.t.Helper()
	add := func(name string, there bool) {
		if there {
			out += name
		}
	}
	_, err := e.Message(e.ctx, virginia, a.message)
	add("M", err == nil)
	_, err = e.OpenBody(e.ctx, a.message)
	add("B", err == nil)
	_, err = e.Event(e.ctx, a.event.ID)
	add("E", err == nil)
	units, err := e.UnitsOfMessage(e.ctx, virginia, a.message)
	add("U", err == nil && len(units) > 0)
	_, err = e.Envelope(e.ctx, a.envelope)
	add("V", err == nil)
	add("A", len(e.attempts(a.unit)) > 0)
	return out
}

func (e *env) sweep(r store.Retention) int {
	e.t.Helper()
	n, err := e.Sweep(e.ctx, r)
	e.ok(err)
	return n
}

const day = 24 * time.Hour

func testSweepNothing(e *env) {
	a := e.past(start.Add(-1000*day), store.Done)
	e.equal(e.sweep(store.Retention{}), 0)
	e.equal(e.left(a), "MBEUVA")
}

func testSweepUnits(e *env) {
	old, fresh := e.past(start.Add(-20*day), store.Done), e.past(start.Add(-10*day), store.Done)
	// Old, but finished a short while ago.
	slow := e.past(start.Add(-20*day), store.Waiting)
	u := e.claim("lane", 1)[0]
	e.equal(u.ID, slow.unit.ID)
	e.do(&store.Finish{Unit: u, State: store.Done, Attempts: 2, At: start.Add(-day)})
	e.equal(e.sweep(store.Retention{Events: start.Add(-14 * day)}), 7)
	e.equal(e.left(old), "MB")
	e.equal(e.left(fresh), "MBEUVA")
	e.equal(e.left(slow), "MBU")
}

func testSweepNeeded(e *env) {
	a := e.past(start.Add(-100*day), store.Waiting)
	e.sweep(store.Retention{Events: start, Messages: start})
	e.equal(e.left(a), "MBEUV")
	// A unit about no message.
	lone := e.event(sestina.ID{})
	lone.ID, lone.At = idAt(start.Add(-100*day)), start.Add(-100*day)
	u := e.unit("lone")
	u.ID, u.EventID, u.Envelope = idAt(start.Add(-100*day)), lone.ID, idAt(start.Add(-100*day))
	e.write(store.Effects{
		Events: []store.Event{lone}, Units: []store.Unit{u},
		Envelopes: []store.Envelope{{ID: u.Envelope, Scope: virginia, Data: []byte(`{}`)}},
	})
	e.sweep(store.Retention{Events: start, Messages: start})
	_, err := e.Event(e.ctx, lone.ID)
	e.ok(err)
	_, err = e.Envelope(e.ctx, u.Envelope)
	e.ok(err)
	got := e.claim("lone", 10)
	e.equal(idsOf(got), []sestina.ID{u.ID})
	e.do(&store.Finish{Unit: got[0], State: store.Done, Attempts: 1, At: start.Add(-time.Hour)})
	e.equal(e.sweep(store.Retention{Events: start, Messages: start}), 3)
}

func testSweepDead(e *env) {
	a := e.past(start.Add(-30*day), store.Waiting)
	u := e.claim("lane", 1)[0]
	e.do(&store.Finish{Unit: u, State: store.Dead, Attempts: 2, At: start.Add(-day)})
	e.sweep(store.Retention{Events: start.Add(-14 * day), Messages: start.Add(-20 * day)})
	e.equal(e.left(a), "MBEUV") // it can be redriven
	e.sweep(store.Retention{Events: start, Messages: start})
	e.equal(e.left(a), "")
}

func testSweepBodies(e *env) {
	add := func(size int, deliveries ...store.Unit) sestina.ID {
		id := idAt(start.Add(-time.Hour))
		b, err := e.Stage(e.ctx, id, int64(size), bytes.NewReader(bytesOf(size)))
		e.ok(err)
		m := messageWith(id)
		m.Body = b
		for i := range deliveries {
			deliveries[i].MessageID = id
		}
		e.write(store.Effects{Messages: []store.NewMessage{m}, Units: deliveries})
		return id
	}
	delivery := func(lane string, state store.State, finished time.Time) store.Unit {
		u := e.unit(lane)
		u.Kind, u.State, u.FinishedAt = store.KindDelivery, state, finished
		return u
	}
	old, fresh := start.Add(-10*time.Minute), start.Add(-time.Minute)
	done := add(10, delivery("a", store.Done, old))
	large := add(store.InlineBody+10, delivery("a", store.Done, old), delivery("b", store.Dead, old))
	waiting := add(10, delivery("a", store.Done, old), delivery("c", store.Waiting, time.Time{}))
	waitingLarge := add(store.InlineBody+10, delivery("c", store.Waiting, time.Time{}))
	recent := add(10, delivery("a", store.Done, fresh))
	none := add(10)
	published := e.unit("p")
	pub := add(10, published) // a waiting publication needs no body
	e.equal(e.sweep(store.Retention{Bodies: start.Add(-5 * time.Minute)}), 4)
	for _, id := range []sestina.ID{done, large, none, pub} {
		e.noBody(id)
		_, err := e.Message(e.ctx, virginia, id)
		e.ok(err)
	}
	e.equal(e.body(waiting), bytesOf(10))
	e.equal(e.body(waitingLarge), bytesOf(store.InlineBody+10))
	e.equal(e.body(recent), bytesOf(10))
}

// inbox accepts n messages with bodies of a size.
func (e *env) inbox(n, size int) (ids []sestina.ID) {
	e.t.Helper()
	for range n {
		id := e.id()
		e.accept(id, bytesOf(size))
		ids = append(ids, id)
	}
	return ids
}

func (e *env) wantBodies(ids []sestina.ID, there ...bool) {
	e.t.Helper()
	for i, want := range there {
		r, err := e.OpenBody(e.ctx, ids[i])
		if err == nil {
			e.ok(r.Close())
		}
		if (err == nil) != want {
			e.t.Errorf("body %d: %v, want it there: %t", i, err, want)
		}
	}
}

func testInboxCount(e *env) {
	ids := e.inbox(6, 10)
	u := e.unit("l")
	u.Kind, u.MessageID = store.KindDelivery, ids[1]
	e.write(store.Effects{Units: []store.Unit{u}})
	e.equal(e.sweep(store.Retention{InboxCount: 6}), 0)
	e.equal(e.sweep(store.Retention{InboxCount: 2}), 3)
	e.wantBodies(ids, false, true, false, false, true, true) // the second is not delivered yet
}

func testInboxBytes(e *env) {
	ids := e.inbox(4, 70_000)
	e.equal(e.sweep(store.Retention{InboxBytes: 280_000}), 0)
	e.equal(e.sweep(store.Retention{InboxBytes: 150_000}), 2)
	e.wantBodies(ids, false, false, true, true)
	e.equal(e.sweep(store.Retention{InboxCount: 1, InboxBytes: 150_000}), 1)
	e.wantBodies(ids, false, false, false, true)
}

func testSweepMessages(e *env) {
	old, fresh := e.past(start.Add(-100*day), store.Done), e.past(start.Add(-10*day), store.Done)
	e.sweep(store.Retention{Messages: start.Add(-60 * day)})
	e.equal(e.left(old), "MBEUVA") // its event could not be read without it
	e.sweep(store.Retention{Messages: start.Add(-60 * day), Events: start.Add(-14 * day)})
	e.equal(e.left(old), "")
	e.equal(e.left(fresh), "MBEUVA")
}

func testSweepMany(e *env) {
	const n = 1203
	at := start.Add(-100 * day)
	var gone, stay store.Effects
	ids := &sestina.IDs{}
	for i := range n {
		message := ids.New(at)
		u := store.Unit{ID: ids.New(at), Scope: virginia, Kind: store.KindPublication, Lane: "l", Due: start, MessageID: message,
			State: store.Done, FinishedAt: at}
		if i%5 == 0 {
			u.State, u.FinishedAt = store.Waiting, time.Time{}
			stay.Units = append(stay.Units, u)
			stay.Messages = append(stay.Messages, messageWith(message))
			continue
		}
		gone.Units = append(gone.Units, u)
		gone.Messages = append(gone.Messages, messageWith(message))
	}
	e.write(gone)
	e.write(stay)
	want := len(gone.Units) + len(gone.Messages)
	e.equal(e.sweep(store.Retention{Events: start, Messages: start}), want)
	b, err := e.Backlog(e.ctx, store.KindPublication, "l")
	e.ok(err)
	e.equal(b.Waiting, len(stay.Units))
	e.equal(e.sweep(store.Retention{Events: start, Messages: start}), 0)
}

var resetTests = []test{
	{"EverythingButDocuments", testReset},
	{"FencesWhatIsClaimed", testResetFences},
	{"WhileWriting", testResetWhileWriting},
}

func testReset(e *env) {
	e.put(doc("a", `1`))
	a := e.past(start, store.Done)
	large := e.id()
	e.accept(large, bytesOf(store.InlineBody*2))
	q := e.id()
	e.fill(q, 2)
	d := e.queued(q)
	d.DedupID = "d"
	e.send(q, d)
	e.units("waiting", 2)
	e.do(&store.SetLane{Kind: store.KindPublication, Lane: "waiting", State: store.LaneState{Paused: true}})
	e.ok(e.Reset(e.ctx))
	e.equal(e.left(a), "")
	e.noBody(large)
	e.equal(len(e.receive(q, 10)), 0)
	e.equal(len(e.lanes()), 0)
	st, err := e.Lane(e.ctx, store.KindPublication, "waiting")
	e.ok(err)
	e.equal(st, store.LaneState{})
	got, err := e.Get(e.ctx, virginia, kind, "a")
	e.ok(err)
	e.equal(got.Version, int64(1))
	e.equal(e.send(q, d)[0].Duplicate, false)
	e.accept(large, bytesOf(store.InlineBody*2))
	e.equal(len(e.body(large)), store.InlineBody*2)
}

func testResetFences(e *env) {
	e.units("l", 1)
	u := e.claim("l", 1)[0]
	e.ok(e.Reset(e.ctx))
	ev := e.event(e.id())
	e.is(e.Do(e.ctx, &store.Finish{Unit: u, State: store.Done, At: start, Effects: store.Effects{Events: []store.Event{ev}}}), store.ErrFenced)
	_, err := e.Event(e.ctx, ev.ID)
	e.is(err, store.ErrNotFound)
}

// Commands and resets at once: every command is whole or gone.
func testResetWhileWriting(e *env) {
	parallel(6, func(i int) {
		for range 15 {
			if i == 0 {
				if err := e.Reset(e.ctx); err != nil {
					e.t.Errorf("reset: %v", err)
				}
				continue
			}
			m := e.message()
			f := store.Effects{Messages: []store.NewMessage{m}, Events: []store.Event{e.event(m.ID)}}
			if err := e.Do(e.ctx, &store.Write{Effects: f}); err != nil {
				e.t.Errorf("write: %v", err)
			}
		}
	})
	messages, err := e.Messages(e.ctx, store.MessageFilter{Limit: 1000})
	e.ok(err)
	events, err := e.Events(e.ctx, store.EventFilter{Limit: 1000})
	e.ok(err)
	e.equal(len(messages), len(events))
}
