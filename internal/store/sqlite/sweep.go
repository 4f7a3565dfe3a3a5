package sqlite

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Sweep deletes what the retention clocks allow. Each step looks for rows on a
// reading connection, going forward from the oldest, and deletes what it found
// in small transactions that check again; so neither a long table nor rows that
// have to stay keep the writer busy. Units go first: what they needed can go
// with them.
func (s *Store) Sweep(ctx context.Context, r store.Retention) (total int, err error) {
	steps := []func() (int, error){
		func() (int, error) { return s.sweepUnits(ctx, r.Events) },
		func() (int, error) { return s.sweepAttempts(ctx, r.Events) },
		func() (int, error) { return s.sweepEvents(ctx, r.Events) },
		func() (int, error) { return s.sweepEnvelopes(ctx, r.Events) },
		func() (int, error) { return s.sweepBodies(ctx, r.Bodies) },
		func() (int, error) { return s.sweepInbox(ctx, r.InboxCount, r.InboxBytes) },
		func() (int, error) { return s.sweepMessages(ctx, r.Messages) },
		func() (int, error) { return s.sweepQueues(ctx, r.QueueNow) },
		func() (int, error) { return s.sweepOrphans(ctx, orphanAge) },
	}
	for _, step := range steps {
		n, err := step()
		if total += n; err != nil {
			return total, fmt.Errorf("sweep: %w", err)
		}
	}
	return total, nil
}

// rowRef names a row and its place in the order of a step, which says what the
// members are.
type rowRef struct {
	seq, at     int64
	id, message sestina.ID
}

// sweepRows finds and deletes rows in chunks. find returns the next rows to
// delete after the given one, and where to go on (rows that stay are passed
// over); it reports false at the end. del deletes one row and says how many went.
func (s *Store) sweepRows(ctx context.Context,
	find func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error),
	del func(t *txn, r rowRef) (int, error),
) (total int, err error) {
	var after rowRef
	for more := true; more; {
		var rows []rowRef
		err := s.reads.do(ctx, func(c *conn) (err error) {
			rows, after, more, err = find(c, after)
			return err
		})
		if err != nil {
			return total, err
		}
		if len(rows) == 0 {
			continue
		}
		var n int
		err = s.write(ctx, &op{size: len(rows) * store.RowOverhead, fn: func(t *txn) error {
			n = 0
			for _, r := range rows {
				d, err := del(t, r)
				if err != nil {
					return err
				}
				n += d
			}
			return nil
		}})
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// sweepUnits deletes units finished before a time. They are found by age: a
// unit is older than its end, and so is the message it is about.
func (s *Store) sweepUnits(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	floor := sestina.FloorID(before)
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		// Units about no message come first, and are in order of their own age.
		q := c.sql(`
			SELECT message_id, id, state <> 0 AND finished_at < ? FROM units
			WHERE (message_id, id) > (?, ?) AND message_id < ? AND (message_id <> x'' OR id < ?)
			ORDER BY message_id, id LIMIT ?`).
			time(before).id(after.message).id(after.id).id(floor).id(floor).int(rowsPerRead)
		n := 0
		for n < rowsPerRead && len(rows) < chunk && q.next() {
			n++
			next = rowRef{message: q.getID(), id: q.getID()}
			if q.getBool() {
				rows = append(rows, next)
			}
		}
		return rows, next, n == rowsPerRead || len(rows) == chunk, q.done()
	}
	return s.sweepRows(ctx, find, func(t *txn, r rowRef) (int, error) {
		return t.c.sql(`
			DELETE FROM units
			WHERE message_id = ? AND id = ? AND state <> 0 AND finished_at < ?`).id(r.message).id(r.id).time(before).exec()
	})
}

// sweepAttempts deletes attempts made before a time.
func (s *Store) sweepAttempts(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT unit, n, at < ? FROM attempts
			WHERE (unit, n) > (?, ?) AND unit < ?
			ORDER BY unit, n LIMIT ?`).
			time(before).id(after.id).int(after.seq).id(sestina.FloorID(before)).int(chunk)
		n := 0
		for q.next() {
			n++
			next = rowRef{id: q.getID(), seq: q.getInt()}
			if q.getBool() {
				rows = append(rows, next)
			}
		}
		return rows, next, n == chunk, q.done()
	}
	return s.sweepRows(ctx, find, func(t *txn, r rowRef) (int, error) {
		return t.c.sql(`DELETE FROM attempts WHERE unit = ? AND n = ?`).id(r.id).int(r.seq).exec()
	})
}

// sweepEvents deletes events of before a time that no unit is left to publish.
// A dead letter may be redriven, so it needs its event too.
func (s *Store) sweepEvents(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	// Units about a message are looked for through it, the others are few.
	loose, err := s.needed(ctx, `event_id`, `message_id = x''`, before)
	if err != nil {
		return 0, err
	}
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT id, message_id, at < ?1 AND NOT EXISTS (
				SELECT 1 FROM units u WHERE u.message_id = e.message_id AND u.event_id = e.id AND u.state <> 1)
			FROM events e
			WHERE id > ?2 AND id < ?3 ORDER BY id LIMIT ?4`).
			time(before).id(after.id).id(sestina.FloorID(before)).int(chunk)
		n := 0
		for q.next() {
			n++
			next = rowRef{id: q.getID(), message: q.getID()}
			if q.getBool() && !loose[next.id] {
				rows = append(rows, next)
			}
		}
		return rows, next, n == chunk, q.done()
	}
	return s.sweepRows(ctx, find, func(t *txn, r rowRef) (int, error) {
		return t.c.sql(`DELETE FROM events WHERE id = ?`).id(r.id).exec()
	})
}

// sweepEnvelopes deletes envelopes of before a time that no unit needs.
func (s *Store) sweepEnvelopes(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	needed, err := s.neededEnvelopes(ctx, before)
	if err != nil {
		return 0, err
	}
	return s.deleteEnvelopes(ctx, before, needed)
}

// neededEnvelopes returns the envelopes that units need, and those that a
// publication may still make: they have its id, so they can be old when they are
// new.
func (s *Store) neededEnvelopes(ctx context.Context, before time.Time) (map[sestina.ID]bool, error) {
	needed, err := s.needed(ctx, `envelope`, `true`, before)
	if err != nil {
		return nil, err
	}
	publications, err := s.needed(ctx, `id`, fmt.Sprintf(`kind = %d`, store.KindPublication), before)
	maps.Copy(needed, publications)
	return needed, err
}

func (s *Store) deleteEnvelopes(ctx context.Context, before time.Time, needed map[sestina.ID]bool) (int, error) {
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT id FROM envelopes
			WHERE id > ? AND id < ? ORDER BY id LIMIT ?`).id(after.id).id(sestina.FloorID(before)).int(chunk)
		n := 0
		for q.next() {
			n++
			if next = (rowRef{id: q.getID()}); !needed[next.id] {
				rows = append(rows, next)
			}
		}
		return rows, next, n == chunk, q.done()
	}
	return s.sweepRows(ctx, find, func(t *txn, r rowRef) (int, error) {
		return t.c.sql(`DELETE FROM envelopes WHERE id = ?`).id(r.id).exec()
	})
}

// needed returns the values, made before a time, of a column of those units that
// wait or are dead and fit the condition. Nothing can begin to need an old row
// later but through a unit that needs it already.
func (s *Store) needed(ctx context.Context, column, where string, before time.Time) (map[sestina.ID]bool, error) {
	needed := map[sestina.ID]bool{}
	floor := sestina.FloorID(before)
	err := s.reads.do(ctx, func(c *conn) error {
		for _, state := range []string{"units_waiting WHERE state = 0", "units_dead_lane WHERE state = 2"} {
			q := c.sql(`SELECT ` + column + ` FROM units INDEXED BY ` + state + ` AND ` + where + ` AND ` + column + ` < ?`).id(floor)
			for q.next() {
				needed[q.getID()] = true
			}
			if err := q.done(); err != nil {
				return fmt.Errorf("find what units need: %w", err)
			}
		}
		return nil
	})
	return needed, err
}

// bodyIsIdle is true of a body whose message has no delivery that waits.
const bodyIsIdle = `NOT EXISTS (
	SELECT 1 FROM units u WHERE u.message_id = b.message_id AND u.kind = 1 AND u.state = 0)`

// sweepBodies deletes bodies whose deliveries all ended before a time.
func (s *Store) sweepBodies(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	floor := sestina.FloorID(before)
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT seq, message_id, NOT EXISTS (
				SELECT 1 FROM units u
				WHERE u.message_id = b.message_id AND u.kind = 1 AND (u.state = 0 OR u.finished_at >= ?1))
			FROM bodies b
			WHERE seq > ?2 ORDER BY seq LIMIT ?3`).time(before).int(after.seq).int(chunk)
		n := 0
		for more = true; more && q.next(); {
			n++
			next = rowRef{seq: q.getInt(), id: q.getID()}
			if more = string(next.id[:]) < string(floor[:]); more && q.getBool() {
				rows = append(rows, next)
			}
		}
		return rows, next, more && n == chunk, q.done()
	}
	return s.sweepRows(ctx, find, deleteIdleBody)
}

// sweepInbox deletes the oldest bodies beyond a number and a sum of bytes.
func (s *Store) sweepInbox(ctx context.Context, count int, bytes int64) (int, error) {
	if count <= 0 && bytes <= 0 {
		return 0, nil
	}
	last, err := s.inboxEnd(ctx, count, bytes)
	if err != nil || last == 0 {
		return 0, err
	}
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT seq, ` + bodyIsIdle + ` FROM bodies b
			WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?`).int(after.seq).int(last).int(chunk)
		n := 0
		for q.next() {
			n++
			next = rowRef{seq: q.getInt()}
			if q.getBool() {
				rows = append(rows, next)
			}
		}
		return rows, next, n == chunk, q.done()
	}
	return s.sweepRows(ctx, find, deleteIdleBody)
}

// inboxEnd returns the newest seq that does not fit, or 0.
func (s *Store) inboxEnd(ctx context.Context, count int, bytes int64) (last int64, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`SELECT seq, size FROM bodies ORDER BY seq DESC`)
		n, sum := 0, int64(0)
		for last == 0 && q.next() {
			seq := q.getInt()
			n++
			sum += q.getInt()
			if count > 0 && n > count || bytes > 0 && sum > bytes {
				last = seq
			}
		}
		return q.done()
	})
	return last, err
}

func deleteIdleBody(t *txn, r rowRef) (int, error) {
	q := t.c.sql(`SELECT 1 FROM bodies b WHERE seq = ? AND ` + bodyIsIdle).int(r.seq)
	idle := q.next()
	if err := q.done(); err != nil || !idle {
		return 0, err
	}
	if _, err := t.deleteBody(r.seq); err != nil {
		return 0, err
	}
	return 1, nil
}

// sweepMessages deletes messages accepted before a time, with their bodies,
// once no event refers to them and no unit waits or could be redriven.
func (s *Store) sweepMessages(ctx context.Context, before time.Time) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	const unneeded = `
		NOT EXISTS (SELECT 1 FROM units u WHERE u.message_id = m.id AND u.state <> 1)
		AND NOT EXISTS (SELECT 1 FROM events e INDEXED BY events_message WHERE e.message_id = m.id)`
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT seq, id, ` + unneeded + ` FROM messages m
			WHERE id > ? AND id < ? ORDER BY id LIMIT ?`).
			id(after.id).id(sestina.FloorID(before)).int(chunk)
		n := 0
		for q.next() {
			n++
			next = rowRef{seq: q.getInt(), id: q.getID()}
			if q.getBool() {
				rows = append(rows, next)
			}
		}
		return rows, next, n == chunk, q.done()
	}
	return s.sweepRows(ctx, find, func(t *txn, r rowRef) (int, error) {
		n, err := t.c.sql(`DELETE FROM messages AS m WHERE seq = ? AND ` + unneeded).int(r.seq).exec()
		if err != nil || n == 0 {
			return 0, err
		}
		_, err = t.deleteBody(r.seq)
		return n, err
	})
}

// sweepQueues deletes queue messages whose retention ended before a time, and
// deduplication ids that have been remembered long enough.
func (s *Store) sweepQueues(ctx context.Context, now time.Time) (total int, err error) {
	if now.IsZero() {
		return 0, nil
	}
	find := func(c *conn, after rowRef) (rows []rowRef, next rowRef, more bool, err error) {
		q := c.sql(`
			SELECT queue, visible_at, seq, expires_at < ? FROM queue_messages INDEXED BY queue_visible
			WHERE (queue, visible_at, seq) > (?, ?, ?)
			ORDER BY queue, visible_at, seq LIMIT ?`).
			time(now).id(after.id).int(after.at).int(after.seq).int(rowsPerRead)
		n := 0
		for len(rows) < chunk && q.next() {
			n++
			next = rowRef{id: q.getID(), at: q.getInt(), seq: q.getInt()}
			if q.getBool() {
				rows = append(rows, next)
			}
		}
		return rows, next, n == rowsPerRead || len(rows) == chunk, q.done()
	}
	total, err = s.sweepRows(ctx, find, func(t *txn, r rowRef) (int, error) {
		return t.c.sql(`DELETE FROM queue_messages WHERE seq = ? AND expires_at < ?`).int(r.seq).time(now).exec()
	})
	for err == nil {
		n := 0
		err = s.write(ctx, &op{size: chunk * store.RowOverhead, fn: func(t *txn) (err error) {
			n, err = t.c.sql(`
				DELETE FROM queue_dedup WHERE (queue, scope, dedup_id) IN (
					SELECT queue, scope, dedup_id FROM queue_dedup WHERE expires_at < ? LIMIT ?)`).time(now).int(chunk).exec()
			return err
		}})
		if total += n; n < chunk {
			break
		}
	}
	return total, err
}
