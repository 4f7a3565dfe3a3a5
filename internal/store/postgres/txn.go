package postgres

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A txn is what commands write in one transaction, table by table, and what its
// commit will mean to others. Everything in it can be sent again after a
// rollback, as a new txn.
type txn struct {
	s *Store

	finishes, releases                  table
	messages, bodies, events, envelopes table
	units, attempts, cuts               table
	lanesSet, lanesHealthy              table
	queue                               queueTxn
	waiting                             []store.LaneDue
	queues                              []sestina.ID
	happened                            []store.Event
	ending                              []claimed // leases that end with the commit
	failed                              error     // the rows could not be made
}

func newTxn(s *Store) *txn { return &txn{s: s} }

// command adds the rows of a command, the nth of the transaction.
func (t *txn) command(n int, cmd store.Command) {
	switch c := cmd.(type) {
	case nil:
	case *store.Write:
		t.effects(&c.Effects)
	case *store.Finish:
		t.finish(n, c)
	case *store.Release:
		t.release(c)
	case *store.SetLane:
		t.setLane(c)
	case *store.SendQueued:
		t.sendQueued(c)
	case *store.DeleteQueued:
		t.deleteQueued(c)
	case *store.HideQueued:
		t.hideQueued(c)
	default:
		t.failed = fmt.Errorf("storage does not know the command %T", cmd)
	}
}

// effects adds the rows of e.
func (t *txn) effects(e *store.Effects) {
	for i := range e.Messages {
		t.addMessage(&e.Messages[i])
	}
	for i := range e.Events {
		ev := &e.Events[i]
		t.happened = append(t.happened, *ev)
		t.events.row().id(ev.ID).int(t.s.scopes.id(ev.Scope)).id(ev.MessageID).text(string(ev.Type)).time(ev.At).
			bytes(ev.Object).bytes(ev.LateTags)
	}
	for i := range e.Envelopes {
		v := &e.Envelopes[i]
		t.envelopes.row().id(v.ID).int(t.s.scopes.id(v.Scope)).bytes(orEmpty(v.Data))
	}
	for i := range e.Units {
		t.addUnit(&e.Units[i])
	}
	for i := range e.Queued {
		t.enqueue(&e.Queued[i], dedupScope(&e.Queued[i], false), nil)
	}
	for i := range e.Attempts {
		t.addAttempt(&e.Attempts[i])
	}
}

func (t *txn) addMessage(m *store.NewMessage) {
	recipients, err := json.Marshal(m.Recipients)
	if err != nil {
		t.failed = fmt.Errorf("add message %s: %w", m.ID, err)
	}
	t.messages.row().id(m.ID).int(t.s.scopes.id(m.Scope)).int(int64(len(m.Recipients))).int(m.Size).
		text(m.ConfigurationSet).text(m.Identity).blob(m.Source).blob(m.ReturnPath).blob(m.Subject).
		text(string(recipients)).bytes(orEmpty(m.Mail)).bytes(m.Payload)
	if m.Body.ID.IsZero() {
		return
	}
	var data []byte
	if m.Body.Size <= store.InlineBody {
		data = orEmpty(m.Body.Inline)
	}
	t.bodies.row().id(m.ID).int(m.Body.Size).bytes(data)
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (t *txn) addUnit(u *store.Unit) {
	if u.State == store.Waiting {
		t.waiting = append(t.waiting, store.LaneDue{Kind: u.Kind, Lane: u.Lane, Due: u.Due})
	}
	t.units.row().id(u.MessageID).id(u.ID).int(t.s.scopes.id(u.Scope)).int(int64(u.Kind)).int(int64(u.State)).
		int(int64(u.Attempts)).time(u.Due).time(u.FinishedAt).ref(u.EventID).ref(u.Target).ref(u.Envelope).
		text(u.Lane).text(cutAnswer(u.Answer)).bytes(u.Payload)
}

// keptAttempts is how many attempts are kept from a unit's beginning, and how
// many from its end.
const keptAttempts = 10

func (t *txn) addAttempt(a *store.Attempt) {
	t.attempts.row().id(a.Unit).int(int64(a.N)).time(a.At).int(a.Took.Milliseconds()).text(cutAnswer(a.Answer))
	if a.N > 2*keptAttempts {
		t.cuts.row().id(a.Unit).int(int64(a.N - keptAttempts))
	}
}

// finish adds the end or the rescheduling of a unit.
func (t *txn) finish(n int, f *store.Finish) {
	t.ending = append(t.ending, claimed{f.Unit.MessageID, f.Unit.ID, f.Unit.Token})
	answer := cutAnswer(f.Answer)
	if f.State == store.Waiting {
		lane := f.Lane
		if lane == "" {
			lane = f.Unit.Lane
		}
		t.waiting = append(t.waiting, store.LaneDue{Kind: f.Unit.Kind, Lane: lane, Due: f.Due})
		if f.Silent {
			answer = f.Unit.Answer
		} else {
			t.addAttempt(&store.Attempt{Unit: f.Unit.ID, N: f.Attempts, At: f.At, Took: f.Took, Answer: f.Answer})
		}
	}
	t.finishes.row().int(int64(n)).id(f.Unit.MessageID).id(f.Unit.ID).int(int64(f.Unit.Token)).int(int64(f.State)).
		int(int64(f.Attempts)).time(f.Due).time(f.At).int(f.Took.Milliseconds()).text(answer).textOrNull(f.Lane).bytes(f.Payload)
	t.effects(&f.Effects)
}

func (t *txn) release(r *store.Release) {
	for i := range r.Units {
		u := &r.Units[i]
		t.ending = append(t.ending, claimed{u.MessageID, u.ID, u.Token})
		t.releases.row().id(u.MessageID).id(u.ID).int(int64(u.Token))
	}
}

func (t *txn) setLane(c *store.SetLane) {
	st := c.State
	if st == (store.LaneState{}) {
		t.lanesHealthy.row().int(int64(c.Kind)).text(c.Lane)
		return
	}
	t.lanesSet.row().int(int64(c.Kind)).text(c.Lane).time(st.HoldUntil).time(st.FailingSince).int(int64(st.Failures)).
		bool(st.Paused).text(cutAnswer(st.LastError))
}

// cutAnswer returns s as text that can be stored, of at most store.MaxAnswer
// bytes.
func cutAnswer(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= store.MaxAnswer {
		return s
	}
	n := store.MaxAnswer
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// insert writes the statement that adds the rows of a table.
func insert(into, columns string) string {
	var params strings.Builder
	for i := range strings.Count(columns, ",") + 1 {
		if i > 0 {
			params.WriteString(", ")
		}
		fmt.Fprintf(&params, "$%d", i+1)
	}
	return "INSERT INTO " + into + " (" + columns + ") SELECT * FROM unnest(" + params.String() + ")"
}

var (
	insertMessages = insert("messages", `id, scope, recipient_count, size, configuration_set, identity, source,
		return_path, subject, recipients, mail, payload`)
	insertBodies    = insert("bodies", `message_id, size, data`)
	insertEvents    = insert("events", `id, scope, message_id, type, at, object, late_tags`)
	insertEnvelopes = insert("envelopes", `id, scope, data`)
	insertUnits     = insert("units", `message_id, id, scope, kind, state, attempts, due, finished_at, event_id,
		target, envelope, lane, answer, payload`)
	insertAttempts = insert("attempts", `unit, n, at, took, answer`) + `
		ON CONFLICT (unit, n) DO UPDATE SET at = excluded.at, took = excluded.took, answer = excluded.answer`
	insertLanes = insert("lanes", `kind, lane, hold_until, failing_since, failures, paused, last_error`) + `
		ON CONFLICT (kind, lane) DO UPDATE SET hold_until = excluded.hold_until, failing_since = excluded.failing_since,
			failures = excluded.failures, paused = excluded.paused, last_error = excluded.last_error`
)

const (
	// finishUnits ends or reschedules units and refuses when one does not carry
	// its token any more.
	finishUnits = `
		WITH f AS (
			SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
				AS f (n, message_id, id, token, state, attempts, due, at, took, answer, lane, payload)),
		done AS (
			UPDATE units u SET
				state = f.state, attempts = f.attempts, answer = f.answer, lease_token = 0, lease_until = 0,
				due = CASE f.state WHEN 0 THEN f.due ELSE u.due END,
				finished_at = CASE f.state WHEN 0 THEN NULL ELSE f.at END,
				took = CASE f.state WHEN 0 THEN NULL ELSE f.took END,
				lane = coalesce(f.lane, u.lane), payload = coalesce(f.payload, u.payload)
			FROM f
			WHERE u.message_id = f.message_id AND u.id = f.id AND u.state = 0 AND u.lease_token = f.token AND f.token <> 0
			RETURNING f.n)
		SELECT refuse('` + codeFenced + `', ARRAY(SELECT n FROM f WHERE n NOT IN (SELECT n FROM done)))`

	releaseUnits = `
		UPDATE units u SET lease_token = 0, lease_until = 0
		FROM unnest($1, $2, $3) AS r (message_id, id, token)
		WHERE u.message_id = r.message_id AND u.id = r.id AND u.state = 0 AND u.lease_token = r.token AND r.token <> 0
		RETURNING u.kind, u.lane, u.due`

	cutAttempts = `
		DELETE FROM attempts a USING unnest($1, $2) AS c (unit, before)
		WHERE a.unit = c.unit AND a.n > 10 AND a.n <= c.before`

	deleteLanes = `
		DELETE FROM lanes l USING unnest($1, $2) AS h (kind, lane)
		WHERE l.kind = h.kind AND l.lane = h.lane`
)

// steps are the statements of the transaction, always in the same order of
// tables.
func (t *txn) steps() (out []*step) {
	add := func(rows *table, sql string) *step {
		s := stmt(sql, nil)
		if rows.rows > 0 {
			s.args = new(args).table(rows)
			out = append(out, s)
		}
		return s
	}
	if t.failed != nil {
		failed := t.failed
		return []*step{stmt(`SELECT 1`, nil).rows(func(*row) error { return failed })}
	}
	add(&t.finishes, finishUnits)
	add(&t.releases, releaseUnits).rows(func(r *row) error {
		t.waiting = append(t.waiting, store.LaneDue{Kind: store.Kind(r.int()), Lane: r.text(), Due: r.time()})
		return nil
	})
	add(&t.messages, insertMessages)
	add(&t.bodies, insertBodies)
	add(&t.events, insertEvents)
	add(&t.envelopes, insertEnvelopes)
	add(&t.units, insertUnits)
	add(&t.attempts, insertAttempts)
	add(&t.cuts, cutAttempts)
	add(&t.lanesSet, insertLanes)
	add(&t.lanesHealthy, deleteLanes)
	return append(out, t.queueSteps()...)
}

// committed tells everybody concerned that the transaction is durable: first
// the claims, then the listeners.
func (t *txn) committed() {
	t.s.claims.drop(t.ending)
	t.s.tell(store.Change{Lanes: earliest(t.waiting), Queues: distinct(t.queues), Events: t.happened})
}

// tell tells the listeners of a commit. A fault in one is logged; the commit
// stands.
func (s *Store) tell(c store.Change) {
	if len(c.Lanes)+len(c.Queues)+len(c.Events) == 0 {
		return
	}
	s.eachListener(func(l store.Listener) { l.Committed(c) })
}

func (s *Store) eachListener(fn func(store.Listener)) {
	listeners := *s.listeners.Load()
	if len(listeners) == 0 {
		return
	}
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	for _, l := range listeners {
		func() {
			defer func() {
				if p := recover(); p != nil {
					s.log.Error("panic in a store listener", "panic", p, "stack", string(debug.Stack()))
				}
			}()
			fn(l)
		}()
	}
}

// earliest keeps the earliest due time per lane.
func earliest(lanes []store.LaneDue) []store.LaneDue {
	at := make(map[laneKey]int, len(lanes))
	out := lanes[:0]
	for _, l := range lanes {
		k := laneKey{l.Kind, l.Lane}
		i, seen := at[k]
		switch {
		case !seen:
			at[k] = len(out)
			out = append(out, l)
		case l.Due.Before(out[i].Due):
			out[i].Due = l.Due
		}
	}
	return out
}

func distinct(ids []sestina.ID) []sestina.ID {
	seen := make(map[sestina.ID]bool, len(ids))
	out := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
