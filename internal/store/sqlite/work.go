package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Claim leases due units of a lane.
func (s *Store) Claim(ctx context.Context, kind store.Kind, lane string, now time.Time, limit int) (out []store.Unit, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		at := s.claims.enter()
		defer s.claims.leave(at)
		q := c.sql(`
			SELECT ` + unitColumns + ` FROM units INDEXED BY units_waiting
			WHERE kind = ? AND lane = ? AND state = 0 AND due <= ?
			ORDER BY due, id`).int(int64(kind)).text(lane).time(now)
		for len(out) < limit && q.next() {
			token := s.claims.take(q.idAt(1), at)
			if token == 0 {
				continue // held; not worth reading
			}
			u, err := s.scanUnit(c, q)
			u.Token = token
			if out = append(out, u); err != nil {
				_ = q.done()
				return err
			}
		}
		return q.done()
	})
	if err != nil {
		for _, u := range out {
			s.claims.release(u.ID, u.Token)
		}
		return nil, fmt.Errorf("claim units of lane %q: %w", lane, err)
	}
	return out, nil
}

// lanesPerRead is how many lanes the skip scan reads before it hands them on,
// so that no connection is held while the caller works.
const lanesPerRead = 256

type laneWork struct {
	lane  string
	due   time.Time
	state store.LaneState
}

// LanesWithWork finds the lanes of a kind that have waiting units.
func (s *Store) LanesWithWork(ctx context.Context, kind store.Kind, yield func(lane string, due time.Time, st store.LaneState) bool) error {
	after, first := "", true
	for {
		lanes, err := s.nextLanes(ctx, kind, after, first)
		if err != nil {
			return fmt.Errorf("find lanes with work after %q: %w", after, err)
		}
		for _, l := range lanes {
			if !yield(l.lane, l.due, l.state) {
				return nil
			}
			after, first = l.lane, false
		}
		if len(lanes) < lanesPerRead {
			return nil
		}
	}
}

func (s *Store) nextLanes(ctx context.Context, kind store.Kind, after string, first bool) (out []laneWork, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		for len(out) < lanesPerRead {
			l, ok, err := nextLane(c, kind, after, first)
			if err != nil || !ok {
				return err
			}
			if l.state, err = laneState(c, kind, l.lane); err != nil {
				return err
			}
			out = append(out, l)
			after, first = l.lane, false
		}
		return nil
	})
	return out, err
}

// nextLane is one step of the skip scan: the next lane's earliest entry in the
// index, found by its place in the order. The lane "" comes first.
func nextLane(c *conn, kind store.Kind, after string, first bool) (l laneWork, ok bool, err error) {
	q := c.sql(`
		SELECT lane, due FROM units INDEXED BY units_waiting
		WHERE kind = ? AND state = 0 AND lane > ?
		ORDER BY lane, due LIMIT 1`)
	if first {
		q = c.sql(`
			SELECT lane, due FROM units INDEXED BY units_waiting
			WHERE kind = ? AND state = 0 AND lane >= ?
			ORDER BY lane, due LIMIT 1`)
	}
	q.int(int64(kind)).text(after)
	if ok = q.next(); ok {
		l = laneWork{lane: q.getText(), due: q.getTime()}
	}
	return l, ok, q.done()
}

func laneState(c *conn, kind store.Kind, lane string) (st store.LaneState, err error) {
	q := c.sql(`
		SELECT hold_until, failing_since, failures, paused, last_error FROM lanes
		WHERE kind = ? AND lane = ?`).int(int64(kind)).text(lane)
	if q.next() {
		st = store.LaneState{
			HoldUntil: q.getTime(), FailingSince: q.getTime(), Failures: int(q.getInt()),
			Paused: q.getBool(), LastError: q.getText(),
		}
	}
	return st, q.done()
}

// NextDue returns the earliest due time of a lane's unclaimed waiting units.
func (s *Store) NextDue(ctx context.Context, kind store.Kind, lane string) (due time.Time, err error) {
	found := false
	err = s.reads.do(ctx, func(c *conn) error {
		at := s.claims.enter()
		defer s.claims.leave(at)
		q := c.sql(`
			SELECT id, due FROM units INDEXED BY units_waiting
			WHERE kind = ? AND lane = ? AND state = 0
			ORDER BY due, id`).int(int64(kind)).text(lane)
		for !found && q.next() {
			if s.claims.free(q.getID(), at) {
				due, found = q.getTime(), true
			}
		}
		return q.done()
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("next due unit of lane %q: %w", lane, err)
	}
	return due, nil
}

// Lane returns a lane's state.
func (s *Store) Lane(ctx context.Context, kind store.Kind, lane string) (st store.LaneState, err error) {
	err = s.reads.do(ctx, func(c *conn) (err error) {
		st, err = laneState(c, kind, lane)
		return err
	})
	if err != nil {
		return st, fmt.Errorf("read lane %q: %w", lane, err)
	}
	return st, nil
}

// Backlog counts a lane's waiting and dead units, both up to 1,000,000.
func (s *Store) Backlog(ctx context.Context, kind store.Kind, lane string) (b store.Backlog, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT count(*), min(id) FROM (
				SELECT id FROM units INDEXED BY units_waiting
				WHERE kind = ? AND lane = ? AND state = 0 LIMIT 1000000)`).int(int64(kind)).text(lane)
		if q.next() {
			if b.Waiting = int(q.getInt()); b.Waiting > 0 {
				b.Oldest = q.getID().Time()
			}
		}
		if err := q.done(); err != nil {
			return err
		}
		q = c.sql(`
			SELECT count(*) FROM (
				SELECT 1 FROM units INDEXED BY units_dead_lane
				WHERE kind = ? AND lane = ? AND state = 2 LIMIT 1000000)`).int(int64(kind)).text(lane)
		if q.next() {
			b.Dead = int(q.getInt())
		}
		return q.done()
	})
	if err != nil {
		return b, fmt.Errorf("count units of lane %q: %w", lane, err)
	}
	return b, nil
}

// UnitsOfMessage returns the units about an email.
func (s *Store) UnitsOfMessage(ctx context.Context, sc sestina.Scope, message sestina.ID) (out []store.Unit, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		scope, err := s.scopes.find(c, sc)
		if scope == 0 || err != nil {
			return err
		}
		out, err = s.scanUnits(c, c.sql(`
			SELECT `+unitColumns+` FROM units
			WHERE message_id = ? AND scope = ?
			ORDER BY id`).id(message).int(scope))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read units of message %s: %w", message, err)
	}
	return out, nil
}

// DeadUnits pages through dead letters.
func (s *Store) DeadUnits(ctx context.Context, sc sestina.Scope, kind store.Kind, lane string, after sestina.ID, limit int) (out []store.Unit, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		scope, err := s.scopes.find(c, sc)
		if scope == 0 || err != nil {
			return err
		}
		out, err = s.deadUnits(c, scope, kind, lane, after, limit)
		return err
	})
	return out, err
}

func (s *Store) deadUnits(c *conn, scope int64, kind store.Kind, lane string, after sestina.ID, limit int) ([]store.Unit, error) {
	var q *query
	if lane == "" {
		q = c.sql(`
			SELECT ` + unitColumns + ` FROM units INDEXED BY units_dead_scope
			WHERE scope = ? AND kind = ? AND state = 2 AND id > ?
			ORDER BY id LIMIT ?`).int(scope).int(int64(kind))
	} else {
		q = c.sql(`
			SELECT ` + unitColumns + ` FROM units INDEXED BY units_dead_lane
			WHERE kind = ? AND lane = ? AND scope = ? AND state = 2 AND id > ?
			ORDER BY id LIMIT ?`).int(int64(kind)).text(lane).int(scope)
	}
	out, err := s.scanUnits(c, q.id(after).int(int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("read dead units: %w", err)
	}
	return out, nil
}

// Attempts returns the kept attempts of units.
func (s *Store) Attempts(ctx context.Context, units []sestina.ID) (out []store.Attempt, err error) {
	units = slices.Clone(units)
	slices.SortFunc(units, func(a, b sestina.ID) int { return slices.Compare(a[:], b[:]) })
	err = s.reads.do(ctx, func(c *conn) error {
		for _, id := range slices.Compact(units) {
			q := c.sql(`SELECT n, at, took, answer FROM attempts WHERE unit = ? ORDER BY n`).id(id)
			for q.next() {
				out = append(out, store.Attempt{
					Unit: id, N: int(q.getInt()), At: q.getTime(),
					Took: time.Duration(q.getInt()) * time.Millisecond, Answer: q.getText(),
				})
			}
			if err := q.done(); err != nil {
				return fmt.Errorf("read attempts of unit %s: %w", id, err)
			}
		}
		return nil
	})
	return out, err
}

// Envelope returns a topic's message.
func (s *Store) Envelope(ctx context.Context, id sestina.ID) (e store.Envelope, err error) {
	found := false
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`SELECT scope, data FROM envelopes WHERE id = ?`).id(id)
		var scope int64
		if found = q.next(); found {
			scope = q.getInt()
			e = store.Envelope{ID: id, Data: q.getBlob()}
		}
		if err := q.done(); err != nil || !found {
			return err
		}
		e.Scope, err = s.scopes.name(c, scope)
		return err
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Envelope{}, fmt.Errorf("read envelope %s: %w", id, err)
	}
	return e, nil
}
