package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// unitRows are units as they are read, with the numbers of their scopes.
type unitRows struct {
	list   []store.Unit
	scopes []int64
}

func (x *unitRows) scan(r *row) error {
	u := store.Unit{MessageID: r.id(), ID: r.id()}
	x.scopes = append(x.scopes, r.int())
	u.Kind, u.Lane, u.Due = store.Kind(r.int()), r.text(), r.time()
	u.State, u.Attempts = store.State(r.int()), int(r.int())
	u.EventID, u.Target, u.Envelope = r.id(), r.id(), r.id()
	u.FinishedAt, u.Answer, u.Payload = r.time(), r.text(), r.bytes()
	x.list = append(x.list, u)
	return nil
}

// units returns what was read.
func (x *unitRows) units(ctx context.Context, s *Store) ([]store.Unit, error) {
	for i, n := range x.scopes {
		var err error
		if x.list[i].Scope, err = s.scopeName(ctx, n); err != nil {
			return nil, err
		}
	}
	return x.list, nil
}

func (s *Store) queryUnits(ctx context.Context, sql string, a *args) ([]store.Unit, error) {
	var found unitRows
	if err := s.reads.run(ctx, stmt(sql, a).rows(found.scan)); err != nil {
		return nil, err
	}
	return found.units(ctx, s)
}

// lanesPerRead is how many lanes the skip scan reads before it hands them on,
// so that no connection is held while the caller works.
const lanesPerRead = 256

// skipScan finds the next lane's earliest entry in the index from the one
// before, as often as there are lanes. The first is the one that follows the
// comparison with $2; the lane "" comes first.
func skipScan(comparison string) string {
	return `
		WITH RECURSIVE found AS (
			(SELECT lane, due FROM units
			WHERE kind = $1 AND state = 0 AND lane ` + comparison + ` $2
			ORDER BY lane, due LIMIT 1)
			UNION ALL
			SELECT n.lane, n.due FROM found f CROSS JOIN LATERAL (
				SELECT lane, due FROM units
				WHERE kind = $1 AND state = 0 AND lane > f.lane
				ORDER BY lane, due LIMIT 1) n)
		SELECT f.lane, f.due, l.hold_until, l.failing_since, l.failures, l.paused, l.last_error
		FROM (SELECT lane, due FROM found LIMIT $3) f
		LEFT JOIN lanes l ON l.kind = $1 AND l.lane = f.lane
		ORDER BY f.lane`
}

var lanesFrom, lanesAfter = skipScan(">="), skipScan(">")

// LanesWithWork finds the lanes of a kind that have waiting units.
func (s *Store) LanesWithWork(ctx context.Context, kind store.Kind, yield func(lane string, due time.Time, st store.LaneState) bool) error {
	type laneWork struct {
		lane  string
		due   time.Time
		state store.LaneState
	}
	for after, sql := "", lanesFrom; ; sql = lanesAfter {
		var lanes []laneWork
		err := s.reads.run(ctx, stmt(sql, new(args).int(int64(kind)).text(after).int(lanesPerRead)).rows(func(r *row) error {
			lanes = append(lanes, laneWork{lane: r.text(), due: r.time(), state: scanLane(r)})
			return nil
		}))
		if err != nil {
			return fmt.Errorf("find lanes with work after %q: %w", after, err)
		}
		for _, l := range lanes {
			if !yield(l.lane, l.due, l.state) {
				return nil
			}
			after = l.lane
		}
		if len(lanes) < lanesPerRead {
			return nil
		}
	}
}

func scanLane(r *row) store.LaneState {
	return store.LaneState{
		HoldUntil: r.time(), FailingSince: r.time(), Failures: int(r.int()), Paused: r.bool(), LastError: r.text(),
	}
}

// NextDue returns the earliest due time of a lane's unclaimed waiting units.
func (s *Store) NextDue(ctx context.Context, kind store.Kind, lane string) (due time.Time, err error) {
	find := stmt(`
		SELECT due FROM units
		WHERE kind = $1 AND lane = $2 AND state = 0 AND lease_until <= `+leaseNow+`
		ORDER BY due, id LIMIT 1`, new(args).int(int64(kind)).text(lane)).rows(func(r *row) error { due = r.time(); return nil })
	if err = s.reads.run(ctx, find); err == nil && find.n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("next due unit of lane %q: %w", lane, err)
	}
	return due, nil
}

// Lane returns a lane's state.
func (s *Store) Lane(ctx context.Context, kind store.Kind, lane string) (st store.LaneState, err error) {
	err = s.reads.run(ctx, stmt(`
		SELECT hold_until, failing_since, failures, paused, last_error FROM lanes
		WHERE kind = $1 AND lane = $2`, new(args).int(int64(kind)).text(lane)).rows(func(r *row) error { st = scanLane(r); return nil }))
	if err != nil {
		return st, fmt.Errorf("read lane %q: %w", lane, err)
	}
	return st, nil
}

// Backlog counts a lane's waiting and dead units, both up to 1,000,000.
func (s *Store) Backlog(ctx context.Context, kind store.Kind, lane string) (b store.Backlog, err error) {
	a := new(args).int(int64(kind)).text(lane)
	err = s.reads.run(ctx,
		stmt(`SELECT count(*) FROM (
			SELECT 1 FROM units WHERE kind = $1 AND lane = $2 AND state = 0 ORDER BY due LIMIT 1000000) w`, a).
			rows(func(r *row) error { b.Waiting = int(r.int()); return nil }),
		stmt(`SELECT id FROM (
			SELECT id FROM units WHERE kind = $1 AND lane = $2 AND state = 0 ORDER BY due LIMIT 1000000) w
			ORDER BY id LIMIT 1`, a).
			rows(func(r *row) error { b.Oldest = r.id().Time(); return nil }),
		stmt(`SELECT count(*) FROM (
			SELECT 1 FROM units WHERE kind = $1 AND lane = $2 AND state = 2 ORDER BY id LIMIT 1000000) d`, a).
			rows(func(r *row) error { b.Dead = int(r.int()); return nil }))
	if err != nil {
		return b, fmt.Errorf("count units of lane %q: %w", lane, err)
	}
	return b, nil
}

// UnitsOfMessage returns the units about an email.
func (s *Store) UnitsOfMessage(ctx context.Context, sc sestina.Scope, message sestina.ID) (out []store.Unit, err error) {
	scope, err := s.findScope(ctx, sc)
	if scope != 0 && err == nil {
		out, err = s.queryUnits(ctx, `
			SELECT `+unitColumns+` FROM units
			WHERE message_id = $1 AND scope = $2
			ORDER BY id`, new(args).id(message).int(scope))
	}
	if err != nil {
		return nil, fmt.Errorf("read units of message %s: %w", message, err)
	}
	return out, nil
}

// DeadUnits pages through dead letters.
func (s *Store) DeadUnits(ctx context.Context, sc sestina.Scope, kind store.Kind, lane string, after sestina.ID, limit int) (out []store.Unit, err error) {
	scope, err := s.findScope(ctx, sc)
	switch {
	case scope == 0 || err != nil:
	case lane == "":
		out, err = s.queryUnits(ctx, `
			SELECT `+unitColumns+` FROM units
			WHERE scope = $1 AND kind = $2 AND state = 2 AND id > $3
			ORDER BY id LIMIT $4`, new(args).int(scope).int(int64(kind)).id(after).int(int64(limit)))
	default:
		out, err = s.queryUnits(ctx, `
			SELECT `+unitColumns+` FROM units
			WHERE kind = $1 AND lane = $2 AND scope = $3 AND state = 2 AND id > $4
			ORDER BY id LIMIT $5`, new(args).int(int64(kind)).text(lane).int(scope).id(after).int(int64(limit)))
	}
	if err != nil {
		return nil, fmt.Errorf("read dead units: %w", err)
	}
	return out, nil
}

// Attempts returns the kept attempts of units.
func (s *Store) Attempts(ctx context.Context, units []sestina.ID) (out []store.Attempt, err error) {
	err = s.reads.run(ctx, stmt(`
		SELECT unit, n, at, took, answer FROM attempts
		WHERE unit = ANY ($1) ORDER BY unit, n`, new(args).ids(units)).rows(func(r *row) error {
		out = append(out, store.Attempt{
			Unit: r.id(), N: int(r.int()), At: r.time(), Took: time.Duration(r.int()) * time.Millisecond, Answer: r.text(),
		})
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	return out, nil
}

// Envelope returns a topic's message.
func (s *Store) Envelope(ctx context.Context, id sestina.ID) (e store.Envelope, err error) {
	var scope int64
	find := stmt(`SELECT scope, data FROM envelopes WHERE id = $1`, new(args).id(id)).rows(func(r *row) error {
		scope = r.int()
		e = store.Envelope{ID: id, Data: r.bytes()}
		return nil
	})
	if err = s.reads.run(ctx, find); err == nil && find.n == 0 {
		err = store.ErrNotFound
	}
	if err == nil {
		e.Scope, err = s.scopeName(ctx, scope)
	}
	if err != nil {
		return store.Envelope{}, fmt.Errorf("read envelope %s: %w", id, err)
	}
	return e, nil
}
