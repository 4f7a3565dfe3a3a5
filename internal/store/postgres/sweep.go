package postgres

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// writerAge is how long the row of a writer is kept after its last use. A
// writer that is still there makes it anew.
const writerAge = 24 * time.Hour

// Sweep deletes what the retention clocks allow. One node at a time sweeps; the
// others return at once. Each step looks for rows going forward from the
// oldest, and deletes what it found in small transactions that check again.
// Units go first: what they needed can go with them.
func (s *Store) Sweep(ctx context.Context, r store.Retention) (total int, err error) {
	err = s.reads.with(ctx, func(c *conn) error {
		mine := false
		key := new(args).int(s.lockKey("sweep"))
		err := c.run(ctx, stmt(`SELECT pg_try_advisory_lock($1)`, key).rows(func(r *row) error { mine = r.bool(); return nil }))
		if err != nil || !mine {
			return err
		}
		total, err = s.sweep(ctx, r)
		unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), acquireTimeout)
		defer cancel()
		if err := c.run(unlock, stmt(`SELECT pg_advisory_unlock($1)`, key)); err != nil {
			_ = c.pg.Close(unlock) // which unlocks, too
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("sweep: %w", err)
	}
	return total, err
}

func (s *Store) sweep(ctx context.Context, r store.Retention) (total int, err error) {
	steps := []func() (int, error){
		func() (int, error) { return s.sweepUnits(ctx, r.Events) },
		func() (int, error) { return s.sweepAttempts(ctx, r.Events) },
		func() (int, error) { return s.sweepEvents(ctx, r.Events) },
		func() (int, error) { return s.sweepEnvelopes(ctx, r.Events) },
		func() (int, error) { return s.sweepBodies(ctx, r.Bodies) },
		func() (int, error) { return s.sweepInbox(ctx, r.InboxCount, r.InboxBytes) },
		func() (int, error) { return s.sweepMessages(ctx, r.Messages) },
		func() (int, error) { return s.sweepQueues(ctx, r.QueueNow) },
		func() (int, error) { return s.sweepStaged(ctx) },
	}
	for _, step := range steps {
		n, err := step()
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// place is where a step of the sweep has got to.
type place struct {
	id, message sestina.ID
	n           int64
}

// sweepRows looks at rows in order, a page at a time. find returns the query of
// the page after a place; its rows are read by scan, which returns the row's
// place and whether it can go. del deletes rows; it checks them once more.
func (s *Store) sweepRows(ctx context.Context, find func(after place) *step, scan func(*row) (place, bool), del func([]place) *step) (total int, err error) {
	var after place
	for more := true; more; {
		var gone []place
		page := find(after).rows(func(r *row) error {
			var ok bool
			if after, ok = scan(r); ok {
				gone = append(gone, after)
			}
			return nil
		})
		if err := s.reads.run(ctx, page); err != nil {
			return total, err
		}
		more = page.n == chunk
		if len(gone) == 0 {
			continue
		}
		d := del(gone)
		if err := s.repeat(func() error { return s.reads.run(ctx, d) }); err != nil {
			return total, err
		}
		total += d.n
	}
	return total, nil
}

func idsOfPlaces(places []place) []sestina.ID {
	ids := make([]sestina.ID, len(places))
	for i, p := range places {
		ids[i] = p.id
	}
	return ids
}

// sweepUnits deletes units finished before a time. They are found by age: a
// unit is older than its end, and so is the message it is about.
func (s *Store) sweepUnits(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	floor := sestina.FloorID(before)
	return s.sweepRows(ctx,
		func(after place) *step {
			// Units about no message come first, and are in order of their own age.
			return stmt(`
				SELECT message_id, id, state <> 0 AND finished_at < $1 FROM units
				WHERE (message_id, id) > ($2, $3) AND message_id < $4 AND (message_id <> `+noID+` OR id < $4)
				ORDER BY message_id, id LIMIT $5`,
				new(args).time(before).id(after.message).id(after.id).id(floor).int(chunk))
		},
		func(r *row) (place, bool) { return place{message: r.id(), id: r.id()}, r.bool() },
		func(gone []place) *step {
			var t table
			for _, p := range gone {
				t.row().id(p.message).id(p.id)
			}
			return stmt(`
				DELETE FROM units u USING unnest($1, $2) AS g (message_id, id)
				WHERE u.message_id = g.message_id AND u.id = g.id AND u.state <> 0 AND u.finished_at < $3`,
				new(args).table(&t).time(before))
		})
}

// sweepAttempts deletes attempts made before a time.
func (s *Store) sweepAttempts(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	return s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`
				SELECT unit, n, at < $1 FROM attempts
				WHERE (unit, n) > ($2, $3) AND unit < $4
				ORDER BY unit, n LIMIT $5`,
				new(args).time(before).id(after.id).int(after.n).id(sestina.FloorID(before)).int(chunk))
		},
		func(r *row) (place, bool) { return place{id: r.id(), n: r.int()}, r.bool() },
		func(gone []place) *step {
			var t table
			for _, p := range gone {
				t.row().id(p.id).int(p.n)
			}
			return stmt(`DELETE FROM attempts a USING unnest($1, $2) AS g (unit, n) WHERE a.unit = g.unit AND a.n = g.n`, new(args).table(&t))
		})
}

// sweepEvents deletes events of before a time that no unit is left to publish.
// A dead letter may be redriven, so it needs its event too.
func (s *Store) sweepEvents(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	// Units about a message are looked for through it, the others are few.
	loose, err := s.needed(ctx, `event_id`, `message_id = `+noID, before)
	if err != nil {
		return 0, err
	}
	const unneeded = `NOT EXISTS (
		SELECT 1 FROM units u WHERE u.message_id = e.message_id AND u.event_id = e.id AND u.state <> 1)`
	return s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`
				SELECT id, at < $1 AND `+unneeded+` FROM events e
				WHERE id > $2 AND id < $3 ORDER BY id LIMIT $4`,
				new(args).time(before).id(after.id).id(sestina.FloorID(before)).int(chunk))
		},
		func(r *row) (place, bool) {
			p := place{id: r.id()}
			return p, r.bool() && !loose[p.id]
		},
		func(gone []place) *step {
			return stmt(`DELETE FROM events e WHERE id = ANY ($1) AND `+unneeded, new(args).ids(idsOfPlaces(gone)))
		})
}

// sweepEnvelopes deletes envelopes of before a time that no unit needs.
func (s *Store) sweepEnvelopes(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	needed, err := s.needed(ctx, `envelope`, `true`, before)
	if err != nil {
		return 0, err
	}
	// A publication may still make the envelope that has its id, so it can be old
	// when it is new.
	publications, err := s.needed(ctx, `id`, fmt.Sprintf(`kind = %d`, store.KindPublication), before)
	if err != nil {
		return 0, err
	}
	maps.Copy(needed, publications)
	return s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`SELECT id FROM envelopes WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3`,
				new(args).id(after.id).id(sestina.FloorID(before)).int(chunk))
		},
		func(r *row) (place, bool) {
			p := place{id: r.id()}
			return p, !needed[p.id]
		},
		func(gone []place) *step {
			return stmt(`DELETE FROM envelopes WHERE id = ANY ($1)`, new(args).ids(idsOfPlaces(gone)))
		})
}

// needed returns the values, made before a time, of a column of those units that
// wait or are dead and fit the condition. Nothing can begin to need an old row
// later but through a unit that needs it already.
func (s *Store) needed(ctx context.Context, column, where string, before time.Time) (map[sestina.ID]bool, error) {
	needed := map[sestina.ID]bool{}
	for _, state := range []string{"0", "2"} {
		err := s.reads.run(ctx, stmt(`
			SELECT DISTINCT `+column+` FROM units WHERE state = `+state+` AND `+where+` AND `+column+` < $1`,
			new(args).id(sestina.FloorID(before))).rows(func(r *row) error { needed[r.id()] = true; return nil }))
		if err != nil {
			return nil, fmt.Errorf("find what units need: %w", err)
		}
	}
	return needed, nil
}

// deleteBodies deletes bodies that fit the condition, and their pieces. Its
// count is that of bodies.
func deleteBodies(where string) string {
	return `
		WITH gone AS (
			DELETE FROM bodies b WHERE message_id = ANY ($1) AND ` + where + `
			RETURNING message_id),
		pieces AS (
			DELETE FROM body_chunks c USING gone g WHERE c.message_id = g.message_id)
		SELECT 1 FROM gone`
}

// bodyIsIdle is true of a body whose message has no delivery that waits.
const bodyIsIdle = `NOT EXISTS (
	SELECT 1 FROM units u WHERE u.message_id = b.message_id AND u.kind = 1 AND u.state = 0)`

// sweepBodies deletes bodies whose deliveries all ended before a time.
func (s *Store) sweepBodies(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	const over = `NOT EXISTS (
		SELECT 1 FROM units u
		WHERE u.message_id = b.message_id AND u.kind = 1 AND (u.state = 0 OR u.finished_at >= $2))`
	return s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`
				SELECT message_id, `+over+` FROM bodies b
				WHERE message_id > $1 AND message_id < $3 ORDER BY message_id LIMIT $4`,
				new(args).id(after.id).time(before).id(sestina.FloorID(before)).int(chunk))
		},
		func(r *row) (place, bool) { return place{id: r.id()}, r.bool() },
		func(gone []place) *step {
			return stmt(deleteBodies(over), new(args).ids(idsOfPlaces(gone)).time(before))
		})
}

// sweepInbox deletes the oldest bodies beyond a number and a sum of bytes.
func (s *Store) sweepInbox(ctx context.Context, count int, bytes int64) (int, error) {
	last, err := s.inboxEnd(ctx, count, bytes)
	if err != nil || last.IsZero() {
		return 0, err
	}
	return s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`
				SELECT message_id, `+bodyIsIdle+` FROM bodies b
				WHERE message_id > $1 AND message_id <= $2 ORDER BY message_id LIMIT $3`,
				new(args).id(after.id).id(last).int(chunk))
		},
		func(r *row) (place, bool) { return place{id: r.id()}, r.bool() },
		func(gone []place) *step {
			return stmt(deleteBodies(bodyIsIdle), new(args).ids(idsOfPlaces(gone)))
		})
}

// inboxEnd returns the newest message whose body does not fit, or the zero id.
func (s *Store) inboxEnd(ctx context.Context, count int, bytes int64) (last sestina.ID, err error) {
	if count > 0 {
		err = s.reads.run(ctx, stmt(`SELECT message_id FROM bodies ORDER BY message_id DESC OFFSET $1 LIMIT 1`, new(args).int(int64(count))).
			rows(func(r *row) error { last = r.id(); return nil }))
	}
	if bytes <= 0 || err != nil {
		return last, err
	}
	err = s.reads.run(ctx, stmt(`
		SELECT message_id FROM (
			SELECT message_id, sum(size) OVER (ORDER BY message_id DESC) AS total FROM bodies) b
		WHERE total > $1 ORDER BY message_id DESC LIMIT 1`, new(args).int(bytes)).rows(func(r *row) error {
		if id := r.id(); string(id[:]) > string(last[:]) {
			last = id
		}
		return nil
	}))
	return last, err
}

// sweepMessages deletes messages accepted before a time, with their bodies,
// once no event refers to them and no unit waits or could be redriven.
func (s *Store) sweepMessages(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	const unneeded = `
		NOT EXISTS (SELECT 1 FROM units u WHERE u.message_id = m.id AND u.state <> 1)
		AND NOT EXISTS (SELECT 1 FROM events e WHERE e.message_id = m.id)`
	return s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`
				SELECT id, `+unneeded+` FROM messages m
				WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3`,
				new(args).id(after.id).id(sestina.FloorID(before)).int(chunk))
		},
		func(r *row) (place, bool) { return place{id: r.id()}, r.bool() },
		func(gone []place) *step {
			return stmt(`
				WITH gone AS (DELETE FROM messages m WHERE id = ANY ($1) AND `+unneeded+` RETURNING id),
				bodies AS (DELETE FROM bodies b USING gone g WHERE b.message_id = g.id),
				pieces AS (DELETE FROM body_chunks c USING gone g WHERE c.message_id = g.id)
				SELECT 1 FROM gone`, new(args).ids(idsOfPlaces(gone)))
		})
}

// sweepQueues deletes queue messages whose retention ended before a time, and
// deduplication ids that have been remembered long enough.
func (s *Store) sweepQueues(ctx context.Context, now time.Time) (int, error) {
	if now.IsZero() {
		return 0, nil
	}
	total, err := s.sweepRows(ctx,
		func(after place) *step {
			return stmt(`
				SELECT queue, seq, expires_at < $1 FROM queue_messages
				WHERE (queue, seq) > ($2, $3) ORDER BY queue, seq LIMIT $4`,
				new(args).time(now).id(after.id).int(after.n).int(chunk))
		},
		func(r *row) (place, bool) { return place{id: r.id(), n: r.int()}, r.bool() },
		func(gone []place) *step {
			var t table
			for _, p := range gone {
				t.row().id(p.id).int(p.n)
			}
			return stmt(`
				DELETE FROM queue_messages m USING unnest($1, $2) AS g (queue, seq)
				WHERE m.queue = g.queue AND m.seq = g.seq AND m.expires_at < $3`, new(args).table(&t).time(now))
		})
	if err != nil {
		return total, err
	}
	n, err := s.deleteOld(ctx, `
		DELETE FROM queue_dedup WHERE (queue, scope, dedup_id) IN (
			SELECT queue, scope, dedup_id FROM queue_dedup WHERE expires_at < $1 LIMIT $2)`, now)
	return total + n, err
}

// sweepStaged deletes bodies that were staged and never named, and rows of
// writers that are not used any more. Only the bodies are counted.
func (s *Store) sweepStaged(ctx context.Context) (int, error) {
	now := s.clock.Now()
	n, err := s.deleteOld(ctx, `
		WITH lost AS (
			SELECT message_id FROM body_chunks c
			WHERE n = 0 AND staged_at < $1 AND NOT EXISTS (SELECT 1 FROM bodies b WHERE b.message_id = c.message_id)
			LIMIT $2),
		pieces AS (DELETE FROM body_chunks c USING lost l WHERE c.message_id = l.message_id)
		SELECT 1 FROM lost`, now.Add(-orphanAge))
	if err == nil {
		_, err = s.deleteOld(ctx, `DELETE FROM writers WHERE id IN (SELECT id FROM writers WHERE at < $1 LIMIT $2)`, now.Add(-writerAge))
	}
	return n, err
}

// deleteOld runs a statement that deletes rows of before a time, up to a
// number, until there are no more.
func (s *Store) deleteOld(ctx context.Context, sql string, before time.Time) (total int, err error) {
	for n := chunk; n == chunk; {
		del := stmt(sql, new(args).time(before).int(chunk))
		if err := s.repeat(func() error { return s.reads.run(ctx, del) }); err != nil {
			return total, err
		}
		n = del.n
		total += n
	}
	return total, nil
}
