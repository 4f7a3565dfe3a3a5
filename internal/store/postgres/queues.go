package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A queueTxn is what a transaction does to queues: messages that are added,
// and receipts that are deleted or hidden.
type queueTxn struct {
	added     table
	addedAs   []addition // by number
	first     map[dedupKey]bool
	remember  table // deduplication ids, each once
	look      table // numbers and deduplication ids to look up
	locks     []int64
	deletes   table
	deleted   []*bool // by number
	hides     table
	inFlight  []*bool // by number
	gone      []*bool
	hideQueue []sestina.ID
}

// An addition is a message to be added and where to tell what became of it.
type addition struct {
	m      *store.QueueMessage
	result *store.QueueSent // nil: nobody wants to know
	twin   bool             // its deduplication id came earlier in this transaction
}

// dedupScope returns the group where a deduplication id counts in it alone.
func dedupScope(m *store.QueueMessage, perGroup bool) string {
	if perGroup || m.DedupPerGroup {
		return m.GroupID
	}
	return ""
}

func (t *txn) sendQueued(c *store.SendQueued) {
	c.Results = make([]store.QueueSent, len(c.Messages))
	for i := range c.Messages {
		t.enqueue(&c.Messages[i], dedupScope(&c.Messages[i], c.PerGroup), &c.Results[i])
	}
}

// enqueue adds one message unless its deduplication id is remembered.
func (t *txn) enqueue(m *store.QueueMessage, scope string, result *store.QueueSent) {
	q := &t.queue
	n := int64(len(q.addedAs))
	a := addition{m: m, result: result}
	if m.DedupID != "" {
		key := dedupKey{m.Queue, scope, m.DedupID}
		if a.twin = q.first[key]; !a.twin {
			if q.first == nil {
				q.first = map[dedupKey]bool{}
			}
			q.first[key] = true
			q.remember.row().id(m.Queue).text(scope).text(m.DedupID).id(m.ID).text(m.MessageID).time(m.SentAt.Add(store.DedupWindow))
			q.locks = append(q.locks, t.s.queueLockKey(m.Queue, m.GroupID))
		}
		q.look.row().int(n).id(m.Queue).text(scope).text(m.DedupID)
	}
	q.addedAs = append(q.addedAs, a)
	if a.twin {
		return
	}
	q.added.row().int(n).id(m.Queue).id(m.ID).time(m.VisibleAt).int(expiry(m.ExpiresAt)).int(int64(m.Receipt)).
		time(m.FirstReceived).time(m.SentAt).int(int64(m.Receives)).text(m.GroupID).text(m.DedupID).text(scope).
		text(m.MessageID).text(m.Sender).text(m.SourceQueue).bytes(m.Attributes).bytes(m.Body)
}

// strictTime is the time that a message must still be hidden at; without one,
// any message does.
func strictTime(now time.Time) int64 {
	if now.IsZero() {
		return math.MinInt64
	}
	return now.UnixMilli()
}

func (t *txn) deleteQueued(c *store.DeleteQueued) {
	c.Deleted = make([]bool, len(c.Receipts))
	for i, r := range c.Receipts {
		c.Deleted[i] = true // unless it turns out to be there
		t.queue.deletes.row().int(int64(len(t.queue.deleted))).id(c.Queue).id(r.ID).int(int64(r.Receipt)).
			bool(c.Strict).int(strictTime(c.Now))
		t.queue.deleted = append(t.queue.deleted, &c.Deleted[i])
	}
}

func (t *txn) hideQueued(c *store.HideQueued) {
	c.InFlight, c.Gone = make([]bool, len(c.Receipts)), make([]bool, len(c.Receipts))
	for i, r := range c.Receipts {
		c.Gone[i] = true // unless it turns out to be there
		t.queue.hides.row().int(int64(len(t.queue.inFlight))).id(c.Queue).id(r.ID).int(int64(r.Receipt)).
			time(c.Until[i]).time(c.Now)
		t.queue.inFlight = append(t.queue.inFlight, &c.InFlight[i])
		t.queue.gone = append(t.queue.gone, &c.Gone[i])
		t.queue.hideQueue = append(t.queue.hideQueue, c.Queue)
	}
}

const (
	// lockGroups makes those who add to one group wait for each other, so that
	// its messages become visible in order of seq.
	lockGroups = `SELECT pg_advisory_xact_lock(k) FROM unnest($1) AS k`

	// rememberDedup claims deduplication ids that are not remembered, and
	// rememberDedup's seq is the one of the message.
	rememberDedup = `
		INSERT INTO queue_dedup AS d (queue, scope, dedup_id, id, message_id, seq, expires_at)
		SELECT queue, scope, dedup_id, id, message_id, nextval('queue_seq'), expires_at
		FROM unnest($1, $2, $3, $4, $5, $6) AS q (queue, scope, dedup_id, id, message_id, expires_at)
		ON CONFLICT (queue, scope, dedup_id) DO UPDATE SET
			id = excluded.id, message_id = excluded.message_id, seq = excluded.seq, expires_at = excluded.expires_at
		WHERE d.expires_at <= excluded.expires_at - 300000` // store.DedupWindow

	// addQueued adds messages, but not those whose deduplication id belongs to
	// another one.
	addQueued = `
		INSERT INTO queue_messages (queue, seq, id, visible_at, expires_at, receipt, first_received, sent_at, receives,
			group_id, dedup_id, message_id, sender, source_queue, attributes, body)
		SELECT q.queue, coalesce(d.seq, nextval('queue_seq')), q.id, q.visible_at, q.expires_at, q.receipt,
			q.first_received, q.sent_at, q.receives, q.group_id, q.dedup_id, q.message_id, q.sender, q.source_queue,
			q.attributes, q.body
		FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
			AS q (n, queue, id, visible_at, expires_at, receipt, first_received, sent_at, receives, group_id, dedup_id,
				dedup_scope, message_id, sender, source_queue, attributes, body)
		LEFT JOIN queue_dedup d ON d.queue = q.queue AND d.scope = q.dedup_scope AND d.dedup_id = q.dedup_id
		WHERE q.dedup_id = '' OR d.id = q.id
		RETURNING queue, id, seq`

	lookDedup = `
		SELECT l.n, d.message_id, d.seq
		FROM unnest($1, $2, $3, $4) AS l (n, queue, scope, dedup_id)
		JOIN queue_dedup d ON d.queue = l.queue AND d.scope = l.scope AND d.dedup_id = l.dedup_id`

	// deleteMessages tells the queues of which a group may go on.
	deleteMessages = `
		WITH gone AS (
			DELETE FROM queue_messages m
			USING unnest($1, $2, $3, $4, $5, $6) AS r (n, queue, id, receipt, strict, now)
			WHERE m.queue = r.queue AND m.id = r.id AND (NOT r.strict OR m.receipt = r.receipt AND m.visible_at > r.now)
			RETURNING m.queue, m.group_id)
		SELECT queue FROM gone WHERE group_id <> ''`

	notDeleted = `
		SELECT r.n FROM unnest($1, $2, $3, $4, $5, $6) AS r (n, queue, id, receipt, strict, now)
		JOIN queue_messages m ON m.queue = r.queue AND m.id = r.id`

	hideMessages = `
		UPDATE queue_messages m SET visible_at = r.until
		FROM unnest($1, $2, $3, $4, $5, $6) AS r (n, queue, id, receipt, until, now)
		WHERE m.queue = r.queue AND m.id = r.id AND m.receipt = r.receipt AND m.receives > 0
			AND m.visible_at > r.now AND m.expires_at > r.now
		RETURNING r.n`

	notGone = `
		SELECT r.n FROM unnest($1, $2, $3, $4, $5, $6) AS r (n, queue, id, receipt, until, now)
		JOIN queue_messages m ON m.queue = r.queue AND m.id = r.id AND m.expires_at > r.now`
)

// queueSteps are the transaction's statements about queues.
func (t *txn) queueSteps() (out []*step) {
	q := &t.queue
	if len(q.locks) > 0 {
		slices.Sort(q.locks) // everybody takes them in the same order
		out = append(out,
			stmt(lockGroups, new(args).ints(slices.Compact(q.locks))),
			stmt(rememberDedup, new(args).table(&q.remember)))
	}
	if q.added.rows > 0 {
		out = append(out, stmt(addQueued, new(args).table(&q.added)).rows(t.wasAdded()))
	}
	if q.look.rows > 0 {
		out = append(out, stmt(lookDedup, new(args).table(&q.look)).rows(func(r *row) error {
			if a := &q.addedAs[r.int()]; a.result != nil && *a.result == (store.QueueSent{}) {
				*a.result = store.QueueSent{MessageID: r.text(), Seq: r.int(), Duplicate: true}
			}
			return nil
		}))
	}
	if q.deletes.rows > 0 {
		out = append(out,
			stmt(deleteMessages, new(args).table(&q.deletes)).rows(func(r *row) error {
				t.queues = append(t.queues, r.id())
				return nil
			}),
			stmt(notDeleted, new(args).table(&q.deletes)).rows(func(r *row) error {
				*q.deleted[r.int()] = false
				return nil
			}))
	}
	if q.hides.rows > 0 {
		out = append(out,
			stmt(hideMessages, new(args).table(&q.hides)).rows(func(r *row) error {
				n := r.int()
				*q.inFlight[n] = true
				t.queues = append(t.queues, q.hideQueue[n])
				return nil
			}),
			stmt(notGone, new(args).table(&q.hides)).rows(func(r *row) error {
				*q.gone[r.int()] = false
				return nil
			}))
	}
	return out
}

// wasAdded returns what is done with the messages that addQueued adds.
func (t *txn) wasAdded() func(*row) error {
	type key struct{ queue, id sestina.ID }
	waiting := map[key][]int{}
	for n, a := range t.queue.addedAs {
		if !a.twin {
			k := key{a.m.Queue, a.m.ID}
			waiting[k] = append(waiting[k], n)
		}
	}
	return func(r *row) error {
		k := key{r.id(), r.id()}
		numbers := waiting[k]
		if len(numbers) == 0 {
			return fmt.Errorf("message %s was added but not asked for", k.id)
		}
		waiting[k] = numbers[1:]
		a := &t.queue.addedAs[numbers[0]]
		if a.result != nil {
			*a.result = store.QueueSent{MessageID: a.m.MessageID, Seq: r.int()}
		}
		t.queues = append(t.queues, k.queue)
		return nil
	}
}

// recall finds the results of a command that was committed, but whose answer
// was lost.
func (s *Store) recall(cmd store.Command) error {
	ctx, cancel := context.WithTimeout(context.Background(), outcomeTimeout)
	defer cancel()
	switch c := cmd.(type) {
	case *store.SendQueued:
		return s.recallSent(ctx, c)
	case *store.DeleteQueued, *store.HideQueued: // doing it again does no harm
		t := newTxn(s)
		t.command(0, c)
		return s.writes.run(ctx, t.steps()...)
	}
	return nil
}

func (s *Store) recallSent(ctx context.Context, c *store.SendQueued) error {
	var look, find table
	for i := range c.Messages {
		m := &c.Messages[i]
		c.Results[i] = store.QueueSent{MessageID: m.MessageID}
		find.row().int(int64(i)).id(m.Queue).id(m.ID)
		if m.DedupID != "" {
			look.row().int(int64(i)).id(m.Queue).text(dedupScope(m, c.PerGroup)).text(m.DedupID)
		}
	}
	steps := []*step{stmt(`
		SELECT f.n, m.seq FROM unnest($1, $2, $3) AS f (n, queue, id)
		JOIN queue_messages m ON m.queue = f.queue AND m.id = f.id`, new(args).table(&find)).rows(func(r *row) error {
		c.Results[r.int()].Seq = r.int()
		return nil
	})}
	if look.rows > 0 {
		steps = append(steps, stmt(lookDedup, new(args).table(&look)).rows(func(r *row) error {
			n, id, seq := r.int(), r.text(), r.int()
			c.Results[n] = store.QueueSent{MessageID: id, Seq: seq, Duplicate: id != c.Messages[n].MessageID}
			return nil
		}))
	}
	return s.writes.run(ctx, steps...)
}

// QueueCounts counts a queue's messages by state.
func (s *Store) QueueCounts(ctx context.Context, queue sestina.ID, now time.Time) (visible, inFlight, delayed int, err error) {
	err = s.reads.run(ctx, stmt(`
		SELECT count(*) FILTER (WHERE visible_at <= $2), count(*) FILTER (WHERE visible_at > $2 AND receives > 0),
			count(*) FILTER (WHERE visible_at > $2 AND receives = 0)
		FROM queue_messages WHERE queue = $1 AND expires_at > $2`, new(args).id(queue).time(now)).rows(func(r *row) error {
		visible, inFlight, delayed = int(r.int()), int(r.int()), int(r.int())
		return nil
	}))
	if err != nil {
		return 0, 0, 0, fmt.Errorf("count messages of queue %s: %w", queue, err)
	}
	return visible, inFlight, delayed, nil
}

// NextVisible returns when the next hidden message becomes visible.
func (s *Store) NextVisible(ctx context.Context, queue sestina.ID, now time.Time) (at time.Time, err error) {
	find := stmt(`
		SELECT visible_at FROM queue_messages
		WHERE queue = $1 AND visible_at > $2 AND expires_at > visible_at
		ORDER BY visible_at LIMIT 1`, new(args).id(queue).time(now)).rows(func(r *row) error { at = r.time(); return nil })
	if err = s.reads.run(ctx, find); err == nil && find.n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("next visible message of queue %s: %w", queue, err)
	}
	return at, nil
}

const queuedColumns = `seq, id, queue, visible_at, expires_at, receives, receipt, first_received, sent_at,
	group_id, dedup_id, message_id, sender, source_queue, attributes, body`

func scanQueued(r *row) store.QueueMessage {
	return store.QueueMessage{
		Seq: r.int(), ID: r.id(), Queue: r.id(), VisibleAt: r.time(), ExpiresAt: fromExpiry(r.int()),
		Receives: int(r.int()), Receipt: uint64(r.int()), FirstReceived: r.time(), SentAt: r.time(),
		GroupID: r.text(), DedupID: r.text(), MessageID: r.text(), Sender: r.text(), SourceQueue: r.text(),
		Attributes: r.bytes(), Body: r.bytes(),
	}
}

// PeekQueue returns messages in order of arrival, hidden ones too.
func (s *Store) PeekQueue(ctx context.Context, queue sestina.ID, limit int) (out []store.QueueMessage, err error) {
	err = s.reads.run(ctx, stmt(`
		SELECT `+queuedColumns+` FROM queue_messages
		WHERE queue = $1 ORDER BY seq LIMIT $2`, new(args).id(queue).int(int64(limit))).rows(func(r *row) error {
		out = append(out, scanQueued(r))
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("look at queue %s: %w", queue, err)
	}
	return out, nil
}
