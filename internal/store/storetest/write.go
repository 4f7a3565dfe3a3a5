package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var writeTests = []test{
	{"MessageComesBackAsWritten", testMessageRoundTrip},
	{"EventComesBackAsWritten", testEventRoundTrip},
	{"UnitComesBackAsWritten", testUnitRoundTrip},
	{"EnvelopeComesBackAsWritten", testEnvelopeRoundTrip},
	{"TimesAreUTCMilliseconds", testTimes},
	{"AllOrNothing", testAllOrNothing},
	{"RefusedCommandRefusesAlone", testRefusedAlone},
	{"AnswerTellsTheTruthWhenCallersLeave", testCallersLeave},
	{"EndedContextWritesNothing", testEndedContext},
	{"ManyCallers", testManyCallers},
	{"Ping", func(e *env) { e.ok(e.Ping(e.ctx)) }},
	{"ClosedStoreIsUnavailable", testClosed},
}

func testMessageRoundTrip(e *env) {
	id := e.id()
	want := store.Message{
		ID: id, Scope: virginia, ConfigurationSet: "spring", Identity: "example.com",
		Source: `"Ann Œ" <ann@example.com>`, ReturnPath: "bounce@example.com",
		Recipients: []string{"a@example.com", `"quoted \" "@example.com`, "ü@example.com"},
		Subject:    "Grüße\x00 and more", Mail: []byte(`{"messageId":"x","tags":{"a":["b"]}}`), Size: 12345,
		Payload: []byte(`{"v":1}`),
	}
	e.write(store.Effects{Messages: []store.NewMessage{{Message: want, Body: store.Body{ID: id, Size: 2, Inline: []byte("hi")}}}})
	got, err := e.Message(e.ctx, virginia, id)
	e.ok(err)
	e.equal(got, want)
	got, err = e.Message(e.ctx, sestina.Scope{}, id)
	e.ok(err)
	e.equal(got.Scope, virginia)
	_, err = e.Message(e.ctx, ireland, id)
	e.is(err, store.ErrNotFound)
	_, err = e.Message(e.ctx, virginia, e.id())
	e.is(err, store.ErrNotFound)
}

func testEventRoundTrip(e *env) {
	want := store.Event{
		ID: e.id(), Scope: ireland, MessageID: e.id(), Type: sestina.Click, At: start,
		Object: []byte(`{"link":"https://example.com/"}`), LateTags: []byte(`{"a":["b"]}`),
	}
	plain := e.event(sestina.ID{})
	e.write(store.Effects{Events: []store.Event{want, plain}})
	for _, want := range []store.Event{want, plain} {
		got, err := e.Event(e.ctx, want.ID)
		e.ok(err)
		e.equal(got, want)
	}
	_, err := e.Event(e.ctx, e.id())
	e.is(err, store.ErrNotFound)
}

func testUnitRoundTrip(e *env) {
	message := e.id()
	full := store.Unit{
		ID: e.id(), Scope: virginia, Kind: store.KindNotification, Lane: "a lane/with:signs", Due: start, Attempts: 3,
		MessageID: message, EventID: e.id(), Target: e.id(), Envelope: e.id(), Payload: []byte("\x01\x00payload"),
		State: store.Done, FinishedAt: start.Add(time.Second), Answer: "250 ok",
	}
	bare := store.Unit{ID: e.id(), Scope: virginia, Kind: store.KindDelivery, Lane: "l", Due: start, MessageID: message}
	e.write(store.Effects{Units: []store.Unit{full, bare}})
	got, err := e.UnitsOfMessage(e.ctx, virginia, message)
	e.ok(err)
	e.equal(got, []store.Unit{full, bare})
	got, err = e.UnitsOfMessage(e.ctx, ireland, message)
	e.ok(err)
	e.equal(len(got), 0)
}

func testEnvelopeRoundTrip(e *env) {
	want := store.Envelope{ID: e.id(), Scope: other, Data: []byte(`{"v":1,"Message":"m"}`)}
	e.write(store.Effects{Envelopes: []store.Envelope{want}})
	got, err := e.Envelope(e.ctx, want.ID)
	e.ok(err)
	e.equal(got, want)
	_, err = e.Envelope(e.ctx, e.id())
	e.is(err, store.ErrNotFound)
}

func testTimes(e *env) {
	// Given in another zone and with more precision than is kept.
	zone := time.FixedZone("somewhere", 5*3600+1800)
	u := e.unit("a")
	u.MessageID = e.id()
	u.Due = start.Add(999 * time.Microsecond).In(zone)
	ev := e.event(e.id())
	ev.At = u.Due
	e.write(store.Effects{Units: []store.Unit{u}, Events: []store.Event{ev}})
	got, err := e.Event(e.ctx, ev.ID)
	e.ok(err)
	e.equal(got.At, start)
	claimed, err := e.Claim(e.ctx, u.Kind, "a", start.In(zone), 1)
	e.ok(err)
	e.equal(len(claimed), 1)
	e.equal(claimed[0].Due, start)
	e.equal(claimed[0].FinishedAt.IsZero(), true)
}

func testAllOrNothing(e *env) {
	there := e.event(e.id())
	e.write(store.Effects{Events: []store.Event{there}})
	m, u := e.message(), e.unit("a")
	err := e.Do(e.ctx, &store.Write{Effects: store.Effects{
		Messages: []store.NewMessage{m}, Units: []store.Unit{u}, Events: []store.Event{e.event(m.ID), there},
	}})
	if err == nil {
		e.t.Fatal("an event was added twice")
	}
	_, err = e.Message(e.ctx, virginia, m.ID)
	e.is(err, store.ErrNotFound)
	e.equal(len(e.claim("a", 1)), 0)
	events, err := e.Events(e.ctx, store.EventFilter{})
	e.ok(err)
	e.equal(len(events), 1)
}

// Many commands at once, some of which cannot be carried out: exactly those
// are refused.
func testRefusedAlone(e *env) {
	there := e.message()
	e.write(store.Effects{Messages: []store.NewMessage{there}})
	const n = 60
	messages := make([]store.NewMessage, n)
	for i := range messages {
		messages[i] = e.message()
	}
	errs := make([]error, n)
	parallel(n, func(i int) {
		f := store.Effects{Messages: []store.NewMessage{messages[i]}}
		if i%7 == 0 {
			f.Messages = append(f.Messages, there)
		}
		errs[i] = e.Do(e.ctx, &store.Write{Effects: f})
	})
	for i, m := range messages {
		_, err := e.Message(e.ctx, virginia, m.ID)
		if i%7 == 0 {
			if errs[i] == nil {
				e.t.Errorf("command %d was not refused", i)
			}
			e.is(err, store.ErrNotFound)
			continue
		}
		e.ok(errs[i])
		e.ok(err)
	}
}

// Callers whose context ends at any moment: success means that the row is
// there, an error that it is not.
func testCallersLeave(e *env) {
	const n = 200
	ids := make([]sestina.ID, n)
	for i := range ids {
		ids[i] = e.id()
	}
	var left atomic.Int64
	ctx, leave := context.WithCancel(e.ctx)
	errs := make([]error, n)
	parallel(n, func(i int) {
		own, cancel := context.WithCancel(ctx)
		defer cancel()
		if i%3 == 0 {
			go cancel()
		}
		ev := e.event(sestina.ID{})
		ev.ID = ids[i]
		errs[i] = e.Do(own, &store.Write{Effects: store.Effects{Events: []store.Event{ev}}})
		if left.Add(1) == int64(rand.IntN(n)) {
			leave()
		}
	})
	leave()
	for i, id := range ids {
		_, err := e.Event(e.ctx, id)
		switch {
		case errs[i] == nil:
			e.ok(err)
		case errors.Is(errs[i], context.Canceled):
			e.is(err, store.ErrNotFound)
		default:
			e.t.Errorf("command %d: %v", i, errs[i])
		}
	}
}

func testEndedContext(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	m := e.message()
	e.is(e.Do(ctx, &store.Write{Effects: store.Effects{Messages: []store.NewMessage{m}}}), context.Canceled)
	_, err := e.Message(e.ctx, virginia, m.ID)
	e.is(err, store.ErrNotFound)
}

func testManyCallers(e *env) {
	const callers, each = 32, 10
	parallel(callers, func(i int) {
		for range each {
			m := e.message()
			f := store.Effects{Messages: []store.NewMessage{m}, Events: []store.Event{e.event(m.ID)}}
			if err := e.Do(e.ctx, &store.Write{Accepting: true, Effects: f}); err != nil {
				e.t.Errorf("write: %v", err)
				return
			}
			// What was answered can be read at once.
			if _, err := e.Message(e.ctx, virginia, m.ID); err != nil {
				e.t.Errorf("read own write: %v", err)
			}
		}
	})
	messages, recipients, err := e.CountMessages(e.ctx, virginia, start)
	e.ok(err)
	e.equal(messages, callers*each)
	e.equal(recipients, callers*each)
}

func testClosed(e *env) {
	m := e.message()
	e.write(store.Effects{Messages: []store.NewMessage{m}})
	e.ok(e.Close())
	e.ok(e.Close())
	e.is(e.Do(e.ctx, &store.Write{Effects: store.Effects{Events: []store.Event{e.event(m.ID)}}}), store.ErrUnavailable)
	_, err := e.Message(e.ctx, virginia, m.ID)
	e.is(err, store.ErrUnavailable)
	e.is(e.Ping(e.ctx), store.ErrUnavailable)
}
