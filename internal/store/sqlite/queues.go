package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

const queueColumns = `seq, id, queue, visible_at, expires_at, receives, receipt, first_received, sent_at,
	group_id, dedup_id, message_id, sender, source_queue, attributes, body`

func scanQueued(q *query) store.QueueMessage {
	return store.QueueMessage{
		Seq: q.getInt(), ID: q.getID(), Queue: q.getID(), VisibleAt: q.getTime(), ExpiresAt: fromExpiry(q.getInt()),
		Receives: int(q.getInt()), Receipt: uint64(q.getInt()), FirstReceived: q.getTime(), SentAt: q.getTime(),
		GroupID: q.getText(), DedupID: q.getText(), MessageID: q.getText(), Sender: q.getText(), SourceQueue: q.getText(),
		Attributes: q.getBlob(), Body: q.getBlob(),
	}
}

// expiry is how the end of a message's retention is stored: none is the
// largest number, so that one comparison does for all.
func expiry(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.UnixMilli()
}

func fromExpiry(ms int64) time.Time {
	if ms == math.MaxInt64 {
		return time.Time{}
	}
	return fromMillis(ms)
}

// sendQueued adds messages and tells which are new.
func (t *txn) sendQueued(c *store.SendQueued) error {
	c.Results = make([]store.QueueSent, len(c.Messages))
	for i := range c.Messages {
		m := &c.Messages[i]
		var err error
		if c.Results[i], err = t.enqueue(m, dedupScope(m, c.PerGroup)); err != nil {
			return fmt.Errorf("queue message %s: %w", m.ID, err)
		}
	}
	return nil
}

// dedupScope returns the group where a deduplication id counts in it alone.
func dedupScope(m *store.QueueMessage, perGroup bool) string {
	if perGroup || m.DedupPerGroup {
		return m.GroupID
	}
	return ""
}

// enqueue adds one message unless its deduplication id is remembered.
func (t *txn) enqueue(m *store.QueueMessage, dedupScope string) (store.QueueSent, error) {
	if m.DedupID != "" {
		sent, known, err := t.remembered(m, dedupScope)
		if known || err != nil {
			return sent, err
		}
	}
	if err := t.insertQueued(m); err != nil {
		return store.QueueSent{}, err
	}
	sent := store.QueueSent{MessageID: m.MessageID, Seq: t.c.db.LastInsertRowID()}
	t.queues = append(t.queues, m.Queue)
	if m.DedupID == "" {
		return sent, nil
	}
	return sent, t.c.sql(`
		INSERT OR REPLACE INTO queue_dedup (queue, scope, dedup_id, message_id, seq, expires_at)
		VALUES (?, ?, ?, ?, ?, ?)`).
		id(m.Queue).text(dedupScope).text(m.DedupID).text(sent.MessageID).int(sent.Seq).
		time(m.SentAt.Add(store.DedupWindow)).run()
}

// remembered looks for the original of a message.
func (t *txn) remembered(m *store.QueueMessage, dedupScope string) (sent store.QueueSent, known bool, err error) {
	q := t.c.sql(`
		SELECT message_id, seq FROM queue_dedup
		WHERE queue = ? AND scope = ? AND dedup_id = ? AND expires_at > ?`).
		id(m.Queue).text(dedupScope).text(m.DedupID).time(m.SentAt)
	if known = q.next(); known {
		sent = store.QueueSent{MessageID: q.getText(), Seq: q.getInt(), Duplicate: true}
	}
	return sent, known, q.done()
}

// receiveQueued takes visible messages. Messages that were received too often
// go to the dead-letter queue, and others are looked for in their place; seen
// keeps a message that is visible again at once from being taken twice.
func (t *txn) receiveQueued(c *store.ReceiveQueued) error {
	c.Messages = nil
	var blocked map[string]bool
	if c.FIFO {
		var err error
		if blocked, err = t.blockedGroups(c.Queue, c.Now); err != nil {
			return err
		}
	}
	seen := map[int64]bool{}
	for {
		var found []int64
		var err error
		if c.FIFO {
			found, err = t.nextInOrder(c, blocked, seen)
		} else {
			found, err = t.nextVisible(c, seen)
		}
		if err != nil {
			return fmt.Errorf("receive from queue %s: %w", c.Queue, err)
		}
		if len(found) == 0 {
			return nil
		}
		for _, seq := range found {
			seen[seq] = true
			if err := t.receiveOne(c, seq); err != nil {
				return fmt.Errorf("receive message %d of queue %s: %w", seq, c.Queue, err)
			}
		}
	}
}

// nextVisible finds messages of a standard queue, those visible longest first.
func (t *txn) nextVisible(c *store.ReceiveQueued, seen map[int64]bool) (found []int64, err error) {
	q := t.c.sql(`
		SELECT seq FROM queue_messages INDEXED BY queue_visible
		WHERE queue = ?1 AND visible_at <= ?2 AND expires_at > ?2
		ORDER BY visible_at, seq`).id(c.Queue).time(c.Now)
	for len(found)+len(c.Messages) < c.Max && q.next() {
		if seq := q.getInt(); !seen[seq] {
			found = append(found, seq)
		}
	}
	return found, q.done()
}

// nextInOrder finds messages of a FIFO queue in order of seq, leaving out
// groups that are blocked and messages that are delayed.
func (t *txn) nextInOrder(c *store.ReceiveQueued, blocked map[string]bool, seen map[int64]bool) (found []int64, err error) {
	q := t.c.sql(`
		SELECT seq, group_id FROM queue_messages INDEXED BY queue_groups
		WHERE queue = ? AND group_id <> ''
		ORDER BY seq`).id(c.Queue)
	for err == nil && len(found)+len(c.Messages) < c.Max && q.next() {
		seq, group := q.getInt(), q.getText()
		if blocked[group] || seen[seq] {
			continue
		}
		var visible bool
		if visible, err = t.isVisible(seq, c.Now); visible {
			found = append(found, seq)
		}
	}
	return found, cmp.Or(q.done(), err)
}

func (t *txn) isVisible(seq int64, now time.Time) (ok bool, err error) {
	q := t.c.sql(`SELECT 1 FROM queue_messages WHERE seq = ?1 AND visible_at <= ?2 AND expires_at > ?2`).int(seq).time(now)
	ok = q.next()
	return ok, q.done()
}

// blockedGroups returns the groups that have a message in flight.
func (t *txn) blockedGroups(queue sestina.ID, now time.Time) (map[string]bool, error) {
	q := t.c.sql(`
		SELECT group_id FROM queue_messages INDEXED BY queue_visible
		WHERE queue = ?1 AND visible_at > ?2 AND receives > 0 AND expires_at > ?2`).id(queue).time(now)
	blocked := map[string]bool{}
	for q.next() {
		blocked[q.getText()] = true
	}
	if err := q.done(); err != nil {
		return nil, fmt.Errorf("find groups in flight of queue %s: %w", queue, err)
	}
	return blocked, nil
}

func (t *txn) queuedAt(seq int64) (m store.QueueMessage, err error) {
	q := t.c.sql(`SELECT ` + queueColumns + ` FROM queue_messages WHERE seq = ?`).int(seq)
	if q.next() {
		m = scanQueued(q)
	}
	return m, q.done()
}

// receiveOne hides a message and adds it to the result, or moves it to the
// dead-letter queue.
func (t *txn) receiveOne(c *store.ReceiveQueued, seq int64) error {
	m, err := t.queuedAt(seq)
	if err != nil {
		return err
	}
	if c.MaxReceives > 0 && m.Receives >= c.MaxReceives {
		return t.deadLetter(c, &m)
	}
	m.Receives++
	if m.FirstReceived.IsZero() {
		m.FirstReceived = c.Now
	}
	m.VisibleAt = c.Now.Add(c.Visibility)
	for old := m.Receipt; m.Receipt == old; {
		m.Receipt = rand.Uint64()
	}
	c.Messages = append(c.Messages, m)
	return t.c.sql(`
		UPDATE queue_messages SET visible_at = ?, receives = ?, receipt = ?, first_received = ?
		WHERE seq = ?`).
		time(m.VisibleAt).int(int64(m.Receives)).int(int64(m.Receipt)).time(m.FirstReceived).int(seq).run()
}

// deadLetter moves a message that was received too often, as it is: only in a
// FIFO queue its life begins anew.
func (t *txn) deadLetter(c *store.ReceiveQueued, m *store.QueueMessage) error {
	moved := *m
	moved.Queue, moved.VisibleAt, moved.Receipt, moved.SourceQueue = c.DeadLetter, c.Now, 0, c.SourceARN
	if c.FIFO {
		moved.SentAt = c.Now
	}
	if c.DeadLetterRetention > 0 {
		moved.ExpiresAt = moved.SentAt.Add(c.DeadLetterRetention)
	}
	return t.moveMessage(m.Seq, &moved)
}

// moveMessage puts a message at the end of another queue, past deduplication.
func (t *txn) moveMessage(seq int64, m *store.QueueMessage) error {
	if err := t.insertQueued(m); err != nil {
		return err
	}
	t.queues = append(t.queues, m.Queue)
	return t.c.sql(`DELETE FROM queue_messages WHERE seq = ?`).int(seq).run()
}

func (t *txn) insertQueued(m *store.QueueMessage) error {
	return t.c.sql(`
		INSERT INTO queue_messages (id, queue, visible_at, expires_at, receives, receipt, first_received, sent_at,
			group_id, dedup_id, message_id, sender, source_queue, attributes, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		id(m.ID).id(m.Queue).time(m.VisibleAt).int(expiry(m.ExpiresAt)).int(int64(m.Receives)).int(int64(m.Receipt)).
		time(m.FirstReceived).time(m.SentAt).text(m.GroupID).text(m.DedupID).text(m.MessageID).text(m.Sender).
		text(m.SourceQueue).blob(m.Attributes).blob(m.Body).run()
}

// deleteQueued deletes received messages. When one of a group goes, the next of
// the group can be received.
func (t *txn) deleteQueued(c *store.DeleteQueued) error {
	c.Deleted = make([]bool, len(c.Receipts))
	for i, r := range c.Receipts {
		q := t.c.sql(`
			DELETE FROM queue_messages
			WHERE queue = ? AND id = ? AND (NOT ? OR receipt = ? AND visible_at > ?)
			RETURNING group_id`).id(c.Queue).id(r.ID).bool(c.Strict).int(int64(r.Receipt)).int(strictTime(c.Now))
		for q.next() {
			if c.Deleted[i] = true; q.getText() != "" {
				t.queues = append(t.queues, c.Queue)
			}
		}
		err := q.done()
		if err == nil && !c.Deleted[i] {
			var there bool
			there, err = t.hasMessage(c.Queue, r.ID)
			c.Deleted[i] = !there
		}
		if err != nil {
			return fmt.Errorf("delete message %s of queue %s: %w", r.ID, c.Queue, err)
		}
	}
	return nil
}

// strictTime is the time that a message must still be hidden at; without one,
// any message does.
func strictTime(now time.Time) int64 {
	if now.IsZero() {
		return math.MinInt64
	}
	return now.UnixMilli()
}

func (t *txn) hasMessage(queue, id sestina.ID) (there bool, err error) {
	q := t.c.sql(`SELECT 1 FROM queue_messages WHERE queue = ? AND id = ?`).id(queue).id(id)
	there = q.next()
	return there, q.done()
}

// hideQueued changes until when messages in flight stay hidden.
func (t *txn) hideQueued(c *store.HideQueued) error {
	c.InFlight, c.Gone = make([]bool, len(c.Receipts)), make([]bool, len(c.Receipts))
	for i, r := range c.Receipts {
		n, err := t.c.sql(`
			UPDATE queue_messages SET visible_at = ?
			WHERE queue = ? AND id = ? AND receipt = ? AND receives > 0 AND visible_at > ?`).
			time(c.Until[i]).id(c.Queue).id(r.ID).int(int64(r.Receipt)).time(c.Now).exec()
		if err == nil && n == 0 {
			var there bool
			there, err = t.hasMessage(c.Queue, r.ID)
			c.Gone[i] = !there
		}
		if err != nil {
			return fmt.Errorf("hide message %s of queue %s: %w", r.ID, c.Queue, err)
		}
		if c.InFlight[i] = n > 0; n > 0 {
			t.queues = append(t.queues, c.Queue)
		}
	}
	return nil
}

// moveQueued moves visible messages to a queue or back to where they came from.
// What came from nowhere is passed over.
func (t *txn) moveQueued(c *store.MoveQueued) error {
	c.Moved, c.Blocked = 0, nil
	type move struct {
		seq int64
		to  sestina.ID
	}
	var moves []move
	q := t.c.sql(`
		SELECT seq, source_queue FROM queue_messages INDEXED BY queue_visible
		WHERE queue = ?1 AND visible_at <= ?2 AND expires_at > ?2
		ORDER BY visible_at, seq`).id(c.From).time(c.Now)
	for len(moves) < c.Max && q.next() {
		m, source := move{seq: q.getInt(), to: c.To}, q.getText()
		if m.to.IsZero() {
			m.to = c.Sources[source]
		}
		switch {
		case !m.to.IsZero():
			moves = append(moves, m)
		case c.Blocked == nil:
			c.Blocked = &source
		}
	}
	if err := q.done(); err != nil {
		return fmt.Errorf("find messages to move from queue %s: %w", c.From, err)
	}
	for i, m := range moves {
		if err := t.moveAnew(c, i, m.seq, m.to); err != nil {
			return fmt.Errorf("move message %d of queue %s: %w", m.seq, c.From, err)
		}
	}
	c.Moved = len(moves)
	return nil
}

// moveAnew moves a message as if it were sent now.
func (t *txn) moveAnew(c *store.MoveQueued, i int, seq int64, to sestina.ID) error {
	m, err := t.queuedAt(seq)
	if err != nil {
		return err
	}
	m.Queue, m.VisibleAt, m.SentAt, m.SourceQueue = to, c.Now, c.Now, ""
	m.Receives, m.Receipt, m.FirstReceived = 0, 0, time.Time{}
	if i < len(c.MessageIDs) {
		m.MessageID = c.MessageIDs[i]
	}
	if d := c.Retention[to]; d > 0 {
		m.ExpiresAt = c.Now.Add(d)
	}
	return t.moveMessage(seq, &m)
}

// purge deletes all messages that a queue has now, in chunks.
func (s *Store) purge(ctx context.Context, c *store.PurgeQueued) error {
	c.Deleted = 0
	last := int64(-1)
	for {
		n := 0
		err := s.write(ctx, &op{size: chunk * store.RowOverhead, fn: func(t *txn) (err error) {
			if last < 0 {
				if last, err = t.lastSeq(); err != nil {
					return err
				}
			}
			n, err = t.c.sql(`
				DELETE FROM queue_messages WHERE seq IN (
					SELECT seq FROM queue_messages INDEXED BY queue_visible
					WHERE queue = ? AND seq <= ? LIMIT ?)`).id(c.Queue).int(last).int(chunk).exec()
			return err
		}})
		if err != nil {
			return fmt.Errorf("purge queue %s: %w", c.Queue, err)
		}
		if c.Deleted += n; n < chunk {
			return nil
		}
	}
}

// lastSeq returns the newest message's seq over all queues.
func (t *txn) lastSeq() (seq int64, err error) {
	q := t.c.sql(`SELECT coalesce(max(seq), 0) FROM queue_messages`)
	if q.next() {
		seq = q.getInt()
	}
	return seq, q.done()
}

// QueueCounts counts a queue's messages by state.
func (s *Store) QueueCounts(ctx context.Context, queue sestina.ID, now time.Time) (visible, inFlight, delayed int, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT coalesce(sum(visible_at <= ?2), 0),
				coalesce(sum(visible_at > ?2 AND receives > 0), 0),
				coalesce(sum(visible_at > ?2 AND receives = 0), 0)
			FROM queue_messages INDEXED BY queue_visible
			WHERE queue = ?1 AND expires_at > ?2`).id(queue).time(now)
		if q.next() {
			visible, inFlight, delayed = int(q.getInt()), int(q.getInt()), int(q.getInt())
		}
		return q.done()
	})
	if err != nil {
		return 0, 0, 0, fmt.Errorf("count messages of queue %s: %w", queue, err)
	}
	return visible, inFlight, delayed, nil
}

// NextVisible returns when the next hidden message becomes visible.
func (s *Store) NextVisible(ctx context.Context, queue sestina.ID, now time.Time) (at time.Time, err error) {
	found := false
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT visible_at FROM queue_messages INDEXED BY queue_visible
			WHERE queue = ? AND visible_at > ? AND expires_at > visible_at
			ORDER BY visible_at LIMIT 1`).id(queue).time(now)
		if found = q.next(); found {
			at = q.getTime()
		}
		return q.done()
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("next visible message of queue %s: %w", queue, err)
	}
	return at, nil
}

// PeekQueue returns messages in order of arrival, hidden ones too.
func (s *Store) PeekQueue(ctx context.Context, queue sestina.ID, limit int) (out []store.QueueMessage, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT ` + queueColumns + ` FROM queue_messages
			WHERE seq IN (
				SELECT seq FROM queue_messages INDEXED BY queue_visible
				WHERE queue = ? ORDER BY seq LIMIT ?)
			ORDER BY seq`).id(queue).int(int64(limit))
		for q.next() {
			out = append(out, scanQueued(q))
		}
		return q.done()
	})
	if err != nil {
		return nil, fmt.Errorf("look at queue %s: %w", queue, err)
	}
	return out, nil
}
