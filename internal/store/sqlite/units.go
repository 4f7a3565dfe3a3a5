package sqlite

import (
	"cmp"
	"context"
	"fmt"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

const unitColumns = `message_id, id, scope, kind, lane, due, state, attempts, event_id, target, envelope, finished_at, answer, payload`

func (s *Store) scanUnit(c *conn, q *query) (u store.Unit, err error) {
	u.MessageID, u.ID = q.getID(), q.getID()
	scope := q.getInt()
	u.Kind, u.Lane, u.Due = store.Kind(q.getInt()), q.getText(), q.getTime()
	u.State, u.Attempts = store.State(q.getInt()), int(q.getInt())
	u.EventID, u.Target, u.Envelope = q.getID(), q.getID(), q.getID()
	u.FinishedAt, u.Answer, u.Payload = q.getTime(), q.getText(), q.getBlob()
	u.Scope, err = s.scopes.name(c, scope)
	return u, err
}

// scanUnits reads all rows of q and ends it.
func (s *Store) scanUnits(c *conn, q *query) (out []store.Unit, err error) {
	for q.next() && err == nil {
		var u store.Unit
		u, err = s.scanUnit(c, q)
		out = append(out, u)
	}
	if done := q.done(); done != nil || err != nil {
		return nil, cmp.Or(done, err)
	}
	return out, nil
}

func (t *txn) addUnit(u *store.Unit) error {
	scope, err := t.s.scopes.add(t.c, u.Scope)
	if err != nil {
		return err
	}
	if u.State == store.Waiting {
		t.lanes = append(t.lanes, store.LaneDue{Kind: u.Kind, Lane: u.Lane, Due: u.Due})
	}
	return t.c.sql(`
		INSERT INTO units (` + unitColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		id(u.MessageID).id(u.ID).int(scope).int(int64(u.Kind)).text(u.Lane).time(u.Due).int(int64(u.State)).
		int(int64(u.Attempts)).ref(u.EventID).ref(u.Target).ref(u.Envelope).time(u.FinishedAt).
		text(cutAnswer(u.Answer)).blob(u.Payload).run()
}

// finish ends or reschedules a unit. Everything that can refuse it comes before
// the first write.
func (t *txn) finish(f *store.Finish) error {
	if err := t.s.claims.end(f.Unit.ID, f.Unit.Token); err != nil {
		return fmt.Errorf("finish unit %s: %w", f.Unit.ID, err)
	}
	t.ending = append(t.ending, f.Unit.ID)
	n, err := t.updateUnit(f)
	if err != nil {
		return fmt.Errorf("finish unit %s: %w", f.Unit.ID, err)
	}
	if n == 0 { // deleted by Reset
		t.ending = t.ending[:len(t.ending)-1]
		t.s.claims.drop([]sestina.ID{f.Unit.ID})
		return fmt.Errorf("finish unit %s, which does not wait any more: %w", f.Unit.ID, store.ErrFenced)
	}
	if f.State == store.Waiting {
		lane := f.Lane
		if lane == "" {
			lane = f.Unit.Lane
		}
		t.lanes = append(t.lanes, store.LaneDue{Kind: f.Unit.Kind, Lane: lane, Due: f.Due})
		if !f.Silent {
			a := store.Attempt{Unit: f.Unit.ID, N: f.Attempts, At: f.At, Took: f.Took, Answer: f.Answer}
			if err := t.addAttempt(&a); err != nil {
				return fmt.Errorf("add attempt of unit %s: %w", f.Unit.ID, err)
			}
		}
	}
	return t.effects(&f.Effects)
}

// updateUnit writes the unit's row and says whether there was one that waits.
func (t *txn) updateUnit(f *store.Finish) (int, error) {
	if f.State != store.Waiting {
		return t.c.sql(`
			UPDATE units SET state = ?, attempts = ?, finished_at = ?, took = ?, answer = ?,
				lane = coalesce(nullif(?, ''), lane), payload = coalesce(?, payload)
			WHERE message_id = ? AND id = ? AND state = 0`).
			int(int64(f.State)).int(int64(f.Attempts)).time(f.At).int(f.Took.Milliseconds()).text(cutAnswer(f.Answer)).
			text(f.Lane).blob(f.Payload).id(f.Unit.MessageID).id(f.Unit.ID).exec()
	}
	answer := f.Unit.Answer
	if !f.Silent {
		answer = cutAnswer(f.Answer)
	}
	return t.c.sql(`
		UPDATE units SET due = ?, attempts = ?, answer = ?,
			lane = coalesce(nullif(?, ''), lane), payload = coalesce(?, payload)
		WHERE message_id = ? AND id = ? AND state = 0`).
		time(f.Due).int(int64(f.Attempts)).text(answer).
		text(f.Lane).blob(f.Payload).id(f.Unit.MessageID).id(f.Unit.ID).exec()
}

// release gives units back. Those that are not held with their token any more
// have nothing to give back. Nothing is written: the rows did not change.
func (t *txn) release(r *store.Release) error {
	for i := range r.Units {
		u := &r.Units[i]
		if t.s.claims.end(u.ID, u.Token) != nil {
			continue
		}
		t.ending = append(t.ending, u.ID)
		t.lanes = append(t.lanes, store.LaneDue{Kind: u.Kind, Lane: u.Lane, Due: u.Due})
	}
	return nil
}

func (t *txn) setLane(c *store.SetLane) error {
	var err error
	if st := c.State; st == (store.LaneState{}) {
		err = t.c.sql(`DELETE FROM lanes WHERE kind = ? AND lane = ?`).int(int64(c.Kind)).text(c.Lane).run()
	} else {
		err = t.c.sql(`
			INSERT OR REPLACE INTO lanes (kind, lane, hold_until, failing_since, failures, paused, last_error)
			VALUES (?, ?, ?, ?, ?, ?, ?)`).
			int(int64(c.Kind)).text(c.Lane).time(st.HoldUntil).time(st.FailingSince).int(int64(st.Failures)).
			bool(st.Paused).text(cutAnswer(st.LastError)).run()
	}
	if err != nil {
		return fmt.Errorf("set lane %q: %w", c.Lane, err)
	}
	return nil
}

// chunk is how many rows a command or sweep that may touch any number of them
// handles per transaction.
const chunk = 500

// redrive makes dead units wait again, in chunks.
func (s *Store) redrive(ctx context.Context, r *store.Redrive) error {
	r.Count = 0
	if r.IDs != nil {
		for ids := r.IDs; len(ids) > 0; ids = ids[min(chunk, len(ids)):] {
			n := min(chunk, len(ids))
			if r.Limit > 0 {
				n = min(n, r.Limit-r.Count)
			}
			if n == 0 {
				return nil
			}
			var count int
			err := s.write(ctx, &op{size: n * store.RowOverhead, fn: func(t *txn) (err error) {
				count, err = t.redriveNamed(r, ids[:n])
				return err
			}})
			if r.Count += count; err != nil {
				return err
			}
		}
		return nil
	}
	for {
		n := chunk
		if r.Limit > 0 {
			n = min(n, r.Limit-r.Count)
		}
		var count int
		err := s.write(ctx, &op{size: n * store.RowOverhead, fn: func(t *txn) (err error) {
			count, err = t.redriveNext(r, n)
			return err
		}})
		if err != nil {
			return err
		}
		if r.Count += count; count < n || r.Count == r.Limit {
			return nil
		}
	}
}

func (t *txn) redriveNamed(r *store.Redrive, ids []sestina.ID) (count int, err error) {
	scope, err := t.s.scopes.find(t.c, r.Scope)
	if scope == 0 || err != nil {
		return 0, err
	}
	for _, id := range ids {
		q := t.c.sql(`
			SELECT ` + unitColumns + ` FROM units INDEXED BY units_dead_scope
			WHERE scope = ? AND kind = ? AND id = ? AND state = 2`).int(scope).int(int64(r.Kind)).id(id)
		units, err := t.s.scanUnits(t.c, q)
		if err != nil {
			return 0, fmt.Errorf("read dead unit %s: %w", id, err)
		}
		for i := range units {
			if r.Lane != "" && units[i].Lane != r.Lane {
				continue
			}
			if err := t.revive(&units[i], r); err != nil {
				return 0, err
			}
			count++
		}
	}
	return count, nil
}

func (t *txn) redriveNext(r *store.Redrive, n int) (int, error) {
	scope, err := t.s.scopes.find(t.c, r.Scope)
	if scope == 0 || err != nil {
		return 0, err
	}
	units, err := t.s.deadUnits(t.c, scope, r.Kind, r.Lane, sestina.ID{}, n)
	if err != nil {
		return 0, err
	}
	for i := range units {
		if err := t.revive(&units[i], r); err != nil {
			return 0, err
		}
	}
	return len(units), nil
}

// revive makes a dead unit wait. The attempt that ended it becomes one of its
// earlier ones.
func (t *txn) revive(u *store.Unit, r *store.Redrive) error {
	t.lanes = append(t.lanes, store.LaneDue{Kind: u.Kind, Lane: u.Lane, Due: r.Now})
	err := t.c.sql(`
		INSERT OR IGNORE INTO attempts (unit, n, at, took, answer)
		SELECT id, attempts, finished_at, coalesce(took, 0), coalesce(answer, '') FROM units
		WHERE message_id = ? AND id = ? AND attempts > 0`).id(u.MessageID).id(u.ID).run()
	if err != nil {
		return fmt.Errorf("keep the last attempt of unit %s: %w", u.ID, err)
	}
	err = t.c.sql(`
		UPDATE units SET state = 0, due = ?, finished_at = NULL, took = NULL
		WHERE message_id = ? AND id = ? AND state = 2`).time(r.Now).id(u.MessageID).id(u.ID).run()
	if err != nil {
		return fmt.Errorf("redrive unit %s: %w", u.ID, err)
	}
	return nil
}
