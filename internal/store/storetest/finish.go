package storetest

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var finishTests = []test{
	{"DoneKeepsAnswerAndEnd", testFinishDone},
	{"WaitingComesBackWhenDue", testFinishWaiting},
	{"PayloadAndLaneReplacedWhenGiven", testFinishPayload},
	{"EffectsTogetherWithTheEnd", testFinishEffects},
	{"FencedWritesNothing", testFenced},
	{"OneOfManyFinishesWins", testFinishRace},
	{"FailedFinishKeepsTheLease", testFinishFails},
	{"FailedAttemptsAreKept", testAttempts},
	{"SilentAttemptsAreNot", testSilent},
	{"FirstAndLastTenAttempts", testManyAttempts},
	{"AnswersAreCut", testLongAnswers},
}

// one adds a unit about a message and claims it.
func (e *env) one() store.Unit {
	e.t.Helper()
	u := e.unit("lane-" + e.id().String())
	u.MessageID = e.id()
	e.write(store.Effects{Units: []store.Unit{u}})
	return e.claim(u.Lane, 1)[0]
}

// stored returns a unit as the timeline shows it.
func (e *env) stored(u store.Unit) store.Unit {
	e.t.Helper()
	units, err := e.UnitsOfMessage(e.ctx, u.Scope, u.MessageID)
	e.ok(err)
	e.equal(len(units), 1)
	return units[0]
}

func (e *env) attempts(u store.Unit) []store.Attempt {
	e.t.Helper()
	out, err := e.Attempts(e.ctx, []sestina.ID{u.ID})
	e.ok(err)
	return out
}

func testFinishDone(e *env) {
	u := e.one()
	at := start.Add(time.Second)
	e.do(&store.Finish{Unit: u, State: store.Done, Attempts: 1, At: at, Took: 5 * time.Millisecond, Answer: "250 taken"})
	want := u
	want.State, want.Attempts, want.FinishedAt, want.Answer, want.Token = store.Done, 1, at, "250 taken", 0
	e.equal(e.stored(u), want)
	e.equal(len(e.attempts(u)), 0) // the attempt that ended it is on the unit
	e.equal(len(e.claim(u.Lane, 1)), 0)
}

func testFinishWaiting(e *env) {
	u := e.one()
	again := start.Add(10 * time.Minute)
	e.do(&store.Finish{Unit: u, State: store.Waiting, Due: again, Attempts: 1, At: start, Answer: "451 later"})
	early, err := e.Claim(e.ctx, u.Kind, u.Lane, again.Add(-time.Millisecond), 1)
	e.ok(err)
	e.equal(len(early), 0)
	got, err := e.Claim(e.ctx, u.Kind, u.Lane, again, 1)
	e.ok(err)
	e.equal(len(got), 1)
	want := u
	want.Due, want.Attempts, want.Answer, want.Token = again, 1, "451 later", got[0].Token
	e.equal(got[0], want)
}

func testFinishPayload(e *env) {
	u := e.one()
	wait := func(f store.Finish) store.Unit {
		f.State, f.Due, f.Unit, f.Silent = store.Waiting, start, u, true
		e.do(&f)
		lane := u.Lane
		if f.Lane != "" {
			lane = f.Lane
		}
		return e.claim(lane, 1)[0]
	}
	u = wait(store.Finish{Payload: []byte("cursor 1")})
	e.equal(string(u.Payload), "cursor 1")
	u = wait(store.Finish{})
	e.equal(string(u.Payload), "cursor 1")
	u = wait(store.Finish{Lane: "elsewhere"})
	e.equal(u.Lane, "elsewhere")
	u = wait(store.Finish{Payload: []byte{}})
	e.equal(u.Payload, []byte{})
	e.equal(u.Lane, "elsewhere")
}

func testFinishEffects(e *env) {
	u := e.one()
	ev, next, queue := e.event(u.MessageID), e.unit("next"), e.id()
	e.do(&store.Finish{Unit: u, State: store.Done, Attempts: 1, At: start, Effects: store.Effects{
		Events: []store.Event{ev}, Units: []store.Unit{next}, Queued: []store.QueueMessage{e.queued(queue)},
	}})
	_, err := e.Event(e.ctx, ev.ID)
	e.ok(err)
	e.equal(idsOf(e.claim("next", 1)), []sestina.ID{next.ID})
	e.equal(len(e.receive(queue, 1)), 1)
}

func testFenced(e *env) {
	u := e.one()
	ev := e.event(u.MessageID)
	f := store.Finish{Unit: u, State: store.Done, Attempts: 1, At: start, Effects: store.Effects{Events: []store.Event{ev}}}
	f.Unit.Token++
	e.is(e.Do(e.ctx, &f), store.ErrFenced)
	_, err := e.Event(e.ctx, ev.ID)
	e.is(err, store.ErrNotFound)
	e.equal(e.stored(u).State, store.Waiting)

	f.Unit.Token = u.Token
	e.do(&f)
	f.Effects.Events = []store.Event{e.event(u.MessageID)}
	e.is(e.Do(e.ctx, &f), store.ErrFenced)
	_, err = e.Event(e.ctx, f.Effects.Events[0].ID)
	e.is(err, store.ErrNotFound)

	never := e.unit("never claimed")
	e.write(store.Effects{Units: []store.Unit{never}})
	e.is(e.Do(e.ctx, &store.Finish{Unit: never, State: store.Done, At: start}), store.ErrFenced)
}

func testFinishRace(e *env) {
	for range 10 {
		u := e.one()
		var won, fenced atomic.Int64
		parallel(8, func(int) {
			err := e.Do(e.ctx, &store.Finish{Unit: u, State: store.Done, Attempts: 1, At: start,
				Effects: store.Effects{Events: []store.Event{e.event(u.MessageID)}}})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, store.ErrFenced):
				fenced.Add(1)
			}
		})
		e.equal([]int64{won.Load(), fenced.Load()}, []int64{1, 7})
		events, err := e.Events(e.ctx, store.EventFilter{MessageID: u.MessageID})
		e.ok(err)
		e.equal(len(events), 1)
	}
}

func testFinishFails(e *env) {
	u := e.one()
	there := e.event(u.MessageID)
	e.write(store.Effects{Events: []store.Event{there}})
	f := &store.Finish{Unit: u, State: store.Done, Attempts: 1, At: start, Effects: store.Effects{Events: []store.Event{there}}}
	if err := e.Do(e.ctx, f); err == nil || errors.Is(err, store.ErrFenced) {
		e.t.Fatalf("error is %v", err)
	}
	e.equal(e.stored(u).State, store.Waiting)
	e.equal(len(e.claim(u.Lane, 1)), 0) // still held
	f.Effects = store.Effects{}
	e.do(f)
	e.equal(e.stored(u).State, store.Done)
}

// try finishes a unit that goes on waiting and claims it again.
func (e *env) try(u store.Unit, answer string, silent bool) store.Unit {
	e.t.Helper()
	f := &store.Finish{
		Unit: u, State: store.Waiting, Due: start, Attempts: u.Attempts + 1, Silent: silent,
		At: start.Add(time.Duration(u.Attempts) * time.Second), Took: 7 * time.Millisecond, Answer: answer,
	}
	if silent {
		f.Attempts = u.Attempts
	}
	e.do(f)
	return e.claim(u.Lane, 1)[0]
}

func testAttempts(e *env) {
	u, bystander := e.one(), e.one()
	e.try(bystander, "x", false)
	u = e.try(u, "451 first", false)
	u = e.try(u, "451 second", false)
	e.do(&store.Finish{Unit: u, State: store.Done, Attempts: 3, At: start, Answer: "250 at last"})
	e.equal(e.attempts(u), []store.Attempt{
		{Unit: u.ID, N: 1, At: start, Took: 7 * time.Millisecond, Answer: "451 first"},
		{Unit: u.ID, N: 2, At: start.Add(time.Second), Took: 7 * time.Millisecond, Answer: "451 second"},
	})
	e.equal(e.stored(u).Answer, "250 at last")
	both, err := e.Attempts(e.ctx, []sestina.ID{bystander.ID, u.ID})
	e.ok(err)
	e.equal(len(both), 3)
	e.equal(both[0].Unit, u.ID) // the smaller id
}

func testSilent(e *env) {
	u := e.try(e.one(), "451 first", false)
	u = e.try(u, "", true)
	e.equal(u.Attempts, 1)
	e.equal(u.Answer, "451 first")
	e.equal(len(e.attempts(u)), 1)
}

func testManyAttempts(e *env) {
	u := e.one()
	for range 35 {
		u = e.try(u, "451", false)
	}
	var got []int
	for _, a := range e.attempts(u) {
		got = append(got, a.N)
	}
	e.equal(got, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35})
}

func testLongAnswers(e *env) {
	u := e.one()
	long := strings.Repeat("ü", store.MaxAnswer)
	u = e.try(u, "x"+long, false)
	e.do(&store.Finish{Unit: u, State: store.Dead, Attempts: 2, At: start, Answer: long + "\xff"})
	for _, answer := range []string{e.attempts(u)[0].Answer, e.stored(u).Answer} {
		if len(answer) > store.MaxAnswer || len(answer) < store.MaxAnswer-4 || !utf8.ValidString(answer) {
			e.t.Errorf("answer of %d bytes, valid: %t", len(answer), utf8.ValidString(answer))
		}
	}
}
