package sqlite

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// scans are the statements that may look at every row of a table or index, or
// sort: those of a whole-table operation, and of a look at one queue.
var scans = []*regexp.Regexp{
	regexp.MustCompile(`^DELETE FROM \w+$`),                      // Reset
	regexp.MustCompile(`FROM bodies ORDER BY seq DESC`),          // the inbox's bounds, newest first
	regexp.MustCompile(`^SELECT (event_id|envelope) FROM units`), // what waiting units need
	regexp.MustCompile(`DELETE FROM queue_dedup`),                // five minutes of ids
	regexp.MustCompile(`queue = \? ORDER BY seq LIMIT`),          // PeekQueue
	regexp.MustCompile(`max\(seq\)`),                             // the last row only
}

// TestStatementsUseIndexes runs everything that has a statement and asks the
// planner about each: none reads a whole table, none sorts.
func TestStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	x := newStopped(t)
	x.release()
	exercise(t, x)
	checked := 0
	check := func(c *conn) error {
		var faults []error
		for sql := range c.queries {
			plan, err := explain(c, sql)
			if err != nil {
				return err
			}
			checked++
			plan = strings.ReplaceAll(plan, "SCAN (subquery", "")
			if !strings.Contains(plan, "SCAN ") && !strings.Contains(plan, "TEMP B-TREE") || allowed(sql) {
				continue
			}
			faults = append(faults, errors.New(sql+"\n"+plan))
		}
		return errors.Join(faults...)
	}
	if err := x.write(t.Context(), &op{fn: func(t *txn) error { return check(t.c) }}); err != nil {
		t.Error(err)
	}
	for range maxReaders {
		c := <-x.reads.free
		if c == nil {
			continue
		}
		if err := check(c); err != nil {
			t.Error(err)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
	for range maxReaders {
		x.reads.free <- nil
	}
	if checked < 60 {
		t.Errorf("only %d statements were looked at", checked)
	}
}

func allowed(sql string) bool {
	sql = strings.Join(strings.Fields(sql), " ")
	for _, r := range scans {
		if r.MatchString(sql) {
			return true
		}
	}
	return false
}

func explain(c *conn, sql string) (plan string, err error) {
	stmt, _, err := c.db.PrepareTransient("EXPLAIN QUERY PLAN " + sql)
	if err != nil {
		return "", err
	}
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return plan, errors.Join(err, stmt.Finalize())
		}
		plan += stmt.ColumnText(3) + "\n"
	}
}

// exercise uses every method, and every command twice.
func exercise(t *testing.T, x *stopped) {
	t.Helper()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrFenced) {
			t.Fatal(err)
		}
	}
	m, q, ev := x.ids.New(testTime), x.ids.New(testTime), x.ids.New(testTime)
	unit := func(state store.State) store.Unit {
		return store.Unit{ID: x.ids.New(testTime), Scope: testScope, Kind: 1, Lane: "l", Due: testTime, MessageID: m, EventID: ev, State: state}
	}
	message := store.NewMessage{Message: store.Message{ID: m, Scope: testScope}, Body: store.Body{ID: m}}
	queued := func(group string) store.QueueMessage {
		return store.QueueMessage{ID: x.ids.New(testTime), Queue: q, GroupID: group, DedupID: group, SentAt: testTime}
	}
	ok(x.Do(ctx, &store.Write{Effects: store.Effects{
		Messages: []store.NewMessage{message}, Units: []store.Unit{unit(store.Waiting), unit(store.Waiting), unit(store.Dead), unit(store.Dead)},
		Events:    []store.Event{{ID: ev, Scope: testScope, MessageID: m}},
		Envelopes: []store.Envelope{{ID: x.ids.New(testTime), Scope: testScope}},
		Attempts:  []store.Attempt{{Unit: m, N: 30}},
		Queued:    []store.QueueMessage{queued(""), queued("g"), queued("h"), queued("")},
	}}))
	units, err := x.Claim(ctx, 1, "l", testTime, 1)
	ok(err)
	ok(x.Do(ctx, &store.Finish{Unit: units[0], State: store.Waiting, Due: testTime, Attempts: 30}))
	units, err = x.Claim(ctx, 1, "l", testTime, 1)
	ok(err)
	ok(x.Do(ctx, &store.Finish{Unit: units[0], State: store.Done}))
	for _, c := range []store.Command{
		&store.SetLane{Kind: 1, Lane: "l", State: store.LaneState{Paused: true}},
		&store.SetLane{Kind: 1, Lane: "m"},
		&store.Redrive{Kind: 1, Scope: testScope, IDs: []sestina.ID{m}},
		&store.Redrive{Kind: 1, Scope: testScope, Lane: "l", Limit: 1},
		&store.Redrive{Kind: 1, Scope: testScope, Limit: 1},
		&store.ReceiveQueued{Queue: q, Max: 1, Now: testTime},
		&store.ReceiveQueued{Queue: q, Max: 1, Now: testTime, FIFO: true},
		&store.ReceiveQueued{Queue: q, Max: 1, Now: testTime, MaxReceives: 1, DeadLetter: m},
		&store.DeleteQueued{Queue: q, Receipts: []store.Receipt{{ID: m}}},
		&store.HideQueued{Queue: q, Receipts: []store.Receipt{{ID: m}}, Until: []time.Time{testTime}},
		&store.MoveQueued{From: q, To: m, Max: 1, Now: testTime},
		&store.PurgeQueued{Queue: q},
	} {
		ok(x.Do(ctx, c))
	}
	ok(x.Update(ctx, func(tx store.Tx) error {
		d := store.Document{Scope: testScope, Kind: "k", Name: "n"}
		if err := tx.Put(d); err != nil {
			return err
		}
		d.Version = 1
		if err := tx.Put(d); err != nil {
			return err
		}
		_, err := tx.Count(testScope, "k")
		return err
	}))
	readAll(t, x, ok, m, q, ev)
	for range 2 {
		_, err = x.Sweep(ctx, store.Retention{Bodies: testTime, Messages: testTime, Events: testTime, QueueNow: testTime, InboxCount: 1, InboxBytes: 1})
		ok(err)
	}
	ok(x.DeleteBody(ctx, m))
	ok(x.Ping(ctx))
	ok(x.Reset(ctx))
}

func readAll(t *testing.T, x *stopped, ok func(error), m, q, ev sestina.ID) {
	t.Helper()
	ctx := t.Context()
	var err error
	read := func(_ any, err error) { t.Helper(); ok(err) }
	read(x.Get(ctx, testScope, "k", "n"))
	read(x.List(ctx, testScope, "k", "", 1))
	read(x.Changed(ctx, 0, 1))
	ok(x.LanesWithWork(ctx, 1, func(string, time.Time, store.LaneState) bool { return true }))
	read(x.NextDue(ctx, 1, "l"))
	read(x.Lane(ctx, 1, "l"))
	read(x.Backlog(ctx, 1, "l"))
	read(x.UnitsOfMessage(ctx, testScope, m))
	read(x.DeadUnits(ctx, testScope, 1, "", m, 1))
	read(x.DeadUnits(ctx, testScope, 1, "l", m, 1))
	read(x.Attempts(ctx, []sestina.ID{m}))
	read(x.Envelope(ctx, m))
	read(x.Message(ctx, testScope, m))
	read(x.Messages(ctx, store.MessageFilter{Scope: testScope}))
	read(x.Event(ctx, ev))
	read(x.Events(ctx, store.EventFilter{}))
	read(x.Events(ctx, store.EventFilter{Scope: testScope, MessageID: m, Since: testTime, Until: testTime, Types: sestina.EventTypes}))
	_, _, err = x.CountMessages(ctx, testScope, testTime)
	ok(err)
	_, _, _, err = x.QueueCounts(ctx, q, testTime)
	ok(err)
	read(x.NextVisible(ctx, q, testTime))
	read(x.PeekQueue(ctx, q, 1))
	read(x.OpenBody(ctx, m))
}
