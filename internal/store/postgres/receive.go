package postgres

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Receives and moves pick their rows themselves, so each is a transaction of
// its own; one that finds nothing writes nothing. Rows that another node is
// about to change are passed over.

// takeMessages hides the messages of a CTE "picked" (seq, dead, at), or moves
// those that were received too often to the dead-letter queue. The receipt is a
// random number of this receive combined with the message's.
const takeMessages = `
	UPDATE queue_messages m SET
		queue = CASE WHEN p.dead THEN $6 ELSE m.queue END,
		seq = CASE WHEN p.dead THEN nextval('queue_seq') ELSE m.seq END,
		visible_at = CASE WHEN p.dead THEN $2 ELSE $7 END,
		receives = CASE WHEN p.dead THEN m.receives ELSE m.receives + 1 END,
		receipt = CASE WHEN p.dead THEN 0 ELSE $8 # m.seq END,
		first_received = CASE WHEN p.dead OR m.first_received <> 0 THEN m.first_received ELSE $2 END,
		source_queue = CASE WHEN p.dead THEN $9 ELSE m.source_queue END,
		sent_at = CASE WHEN p.dead AND $10 THEN $2 ELSE m.sent_at END,
		expires_at = CASE WHEN p.dead AND $11 > 0 THEN CASE WHEN $10 THEN $2 ELSE m.sent_at END + $11 ELSE m.expires_at END
	FROM picked p WHERE m.queue = $1 AND m.seq = p.seq
	RETURNING p.dead, p.at, m.seq, m.id, m.queue, m.visible_at, m.expires_at, m.receives, m.receipt, m.first_received,
		m.sent_at, m.group_id, m.dedup_id, m.message_id, m.sender, m.source_queue, m.attributes, m.body`

const (
	// receiveVisible takes those visible longest.
	receiveVisible = `
		WITH picked AS (
			SELECT seq, $4 > 0 AND receives >= $4 AS dead, visible_at AS at FROM queue_messages
			WHERE queue = $1 AND visible_at <= $2 AND expires_at > $2 AND seq <> ALL ($5)
			ORDER BY visible_at, seq LIMIT $3 FOR UPDATE SKIP LOCKED)` + takeMessages

	// receiveInOrder takes messages in order of seq, but none of a group of
	// which another receive holds one. One receive of a queue runs at a time,
	// see receiveQueued.
	receiveInOrder = `
		WITH picked AS (
			SELECT seq, $4 > 0 AND receives >= $4 AS dead, seq AS at FROM queue_messages m
			WHERE queue = $1 AND visible_at <= $2 AND expires_at > $2 AND group_id <> '' AND seq <> ALL ($5)
				AND group_id NOT IN (
					SELECT b.group_id FROM queue_messages b
					WHERE b.queue = $1 AND b.visible_at > $2 AND b.receives > 0 AND b.expires_at > $2 AND b.seq <> ALL ($5))
			ORDER BY seq LIMIT $3 FOR UPDATE)` + takeMessages
)

// receiveQueued takes visible messages. While some of those that are found go
// to the dead-letter queue, others are looked for in their place; taken keeps a
// message that is visible again at once from being taken twice.
func (s *Store) receiveQueued(ctx context.Context, c *store.ReceiveQueued) error {
	c.Messages = nil
	var taken []int64
	for len(c.Messages) < c.Max {
		found, dead, err := s.receiveSome(ctx, c, taken)
		if err != nil {
			return fmt.Errorf("receive from queue %s: %w", c.Queue, err)
		}
		for _, m := range found {
			taken = append(taken, m.Seq)
		}
		c.Messages = append(c.Messages, found...)
		if dead == 0 {
			return nil
		}
		s.tell(store.Change{Queues: []sestina.ID{c.DeadLetter}})
	}
	return nil
}

// receiveSome takes some of the messages that are missing and says how many
// went to the dead-letter queue instead.
func (s *Store) receiveSome(ctx context.Context, c *store.ReceiveQueued, taken []int64) (found []store.QueueMessage, dead int, err error) {
	type place struct {
		at int64
		m  store.QueueMessage
	}
	var places []place
	sql := receiveVisible
	var steps []*step
	if c.FIFO {
		// Rows that are passed over because somebody else takes them would let a
		// later one of their group through.
		sql = receiveInOrder
		steps = append(steps, stmt(`SELECT pg_advisory_xact_lock($1)`, new(args).int(s.queueLockKey(c.Queue, "\x00receive"))))
	}
	a := new(args).id(c.Queue).time(c.Now).int(int64(c.Max - len(c.Messages))).int(int64(c.MaxReceives)).ints(taken).
		id(c.DeadLetter).time(c.Now.Add(c.Visibility)).int(int64(rand.Uint64())).text(c.SourceARN).bool(c.FIFO).
		int(c.DeadLetterRetention.Milliseconds())
	steps = append(steps, stmt(sql, a).rows(func(r *row) error {
		if r.bool() {
			dead++
			return nil
		}
		places = append(places, place{at: r.int(), m: scanQueued(r)})
		return nil
	}))
	if err := s.repeat(func() error {
		places, dead = nil, 0
		return s.reads.once(ctx, steps...)
	}); err != nil {
		return nil, 0, err
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.m.Seq, b.m.Seq)) })
	for _, p := range places {
		found = append(found, p.m)
	}
	return found, dead, nil
}

// repeat runs a transaction again when it lost against another one.
func (s *Store) repeat(fn func() error) (err error) {
	for range repeats {
		if err = fn(); !isRepeatable(err) {
			return err
		}
	}
	return unavailable(err)
}

const (
	noID = `'00000000-0000-0000-0000-000000000000'`

	// moveMessages moves messages to $3, or, when that is no queue, to that one
	// of $5 whose place is the place of their source in $4. Retentions are $7
	// for the queues $6.
	moveMessages = `
		WITH picked AS (
			SELECT seq, visible_at, CASE $3 WHEN ` + noID + ` THEN ($5)[array_position($4, source_queue)] ELSE $3 END AS goal
			FROM queue_messages
			WHERE queue = $1 AND visible_at <= $2 AND expires_at > $2 AND ($3 <> ` + noID + ` OR source_queue = ANY ($4))
			ORDER BY visible_at, seq LIMIT $8 FOR UPDATE SKIP LOCKED),
		numbered AS (
			SELECT seq, visible_at, goal, row_number() OVER (ORDER BY visible_at, seq) AS n FROM picked)
		UPDATE queue_messages m SET
			queue = p.goal, seq = nextval('queue_seq'), visible_at = $2, sent_at = $2,
			receives = 0, receipt = 0, first_received = 0, source_queue = '',
			message_id = coalesce(($9)[p.n], m.message_id),
			expires_at = coalesce($2 + nullif(($7)[array_position($6, p.goal)], 0), m.expires_at)
		FROM numbered p WHERE m.queue = $1 AND m.seq = p.seq
		RETURNING m.queue, p.visible_at, p.seq`

	// firstOfNowhere finds the first message whose source is none of $3.
	firstOfNowhere = `
		SELECT visible_at, seq, source_queue FROM queue_messages
		WHERE queue = $1 AND visible_at <= $2 AND expires_at > $2 AND source_queue <> ALL ($3)
		ORDER BY visible_at, seq LIMIT 1`
)

// moveQueued moves visible messages to a queue or back to where they came from.
// What came from nowhere is passed over.
func (s *Store) moveQueued(ctx context.Context, c *store.MoveQueued) error {
	var arns []string
	var goals, kept []sestina.ID
	var retention, places []int64
	if c.To.IsZero() {
		for arn, id := range c.Sources {
			if !id.IsZero() {
				arns, goals = append(arns, arn), append(goals, id)
			}
		}
	}
	for id, d := range c.Retention {
		kept, retention = append(kept, id), append(retention, d.Milliseconds())
	}
	a := new(args).id(c.From).time(c.Now).id(c.To).texts(arns).ids(goals).ids(kept).ints(retention).int(int64(c.Max)).texts(c.MessageIDs)
	var moved []sestina.ID
	var steps []*step
	var blocked []int64
	if c.To.IsZero() {
		steps = append(steps, stmt(firstOfNowhere, new(args).id(c.From).time(c.Now).texts(arns)).rows(func(r *row) error {
			blocked = []int64{r.int(), r.int()}
			source := r.text()
			c.Blocked = &source
			return nil
		}))
	}
	steps = append(steps, stmt(moveMessages, a).rows(func(r *row) error {
		moved = append(moved, r.id())
		if at := []int64{r.int(), r.int()}; slices.Compare(at, places) > 0 {
			places = at
		}
		return nil
	}))
	err := s.repeat(func() error {
		moved, places, blocked, c.Blocked = nil, nil, nil, nil
		return s.reads.once(ctx, steps...)
	})
	if err != nil {
		return fmt.Errorf("move messages of queue %s: %w", c.From, err)
	}
	if len(moved) == c.Max && slices.Compare(blocked, places) > 0 {
		c.Blocked = nil // it comes after those that were moved
	}
	c.Moved = len(moved)
	s.tell(store.Change{Queues: distinct(moved)})
	return nil
}

// purge deletes all messages that a queue has now, in chunks.
func (s *Store) purge(ctx context.Context, c *store.PurgeQueued) error {
	c.Deleted = 0
	last := int64(0)
	err := s.reads.run(ctx, stmt(`SELECT last_value FROM queue_seq`, nil).rows(func(r *row) error { last = r.int(); return nil }))
	for n := chunk; err == nil && n == chunk; {
		del := stmt(`
			DELETE FROM queue_messages WHERE queue = $1 AND seq IN (
				SELECT seq FROM queue_messages WHERE queue = $1 AND seq <= $2 ORDER BY seq LIMIT $3 FOR UPDATE)`,
			new(args).id(c.Queue).int(last).int(chunk))
		err = s.repeat(func() error { return s.reads.once(ctx, del) })
		n = del.n
		c.Deleted += n
	}
	if err != nil {
		return fmt.Errorf("purge queue %s: %w", c.Queue, err)
	}
	return nil
}
