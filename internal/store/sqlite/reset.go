package sqlite

import (
	"context"
	"fmt"

	"github.com/sestina-mail/sestina/internal/store"
)

// Ping writes and reads a row.
func (s *Store) Ping(ctx context.Context) error {
	now := s.clock.Now()
	err := s.write(ctx, &op{size: store.RowOverhead, fn: func(t *txn) error {
		return t.c.sql(`INSERT OR REPLACE INTO meta (name, value) VALUES ('ping', ?)`).time(now).run()
	}})
	if err == nil {
		err = s.reads.do(ctx, func(c *conn) error {
			q := c.sql(`SELECT value FROM meta WHERE name = 'ping'`)
			if found := q.next(); q.err == nil && !found {
				q.err = fmt.Errorf("%w: the row that was written is not there", store.ErrUnavailable)
			}
			return q.done()
		})
	}
	if err != nil {
		return fmt.Errorf("ping the database in %s: %w", s.dir, err)
	}
	return nil
}

// hotTables are all tables but the control plane's.
var hotTables = []string{
	"bodies", "messages", "events", "units", "attempts", "lanes", "envelopes", "queue_messages", "queue_dedup",
}

// Reset deletes everything but documents in one transaction, then the body
// files. Units that are claimed now are fenced.
func (s *Store) Reset(ctx context.Context) error {
	err := s.write(ctx, &op{size: store.RowOverhead, fn: func(t *txn) error {
		for _, table := range hotTables {
			if err := t.c.sql(`DELETE FROM ` + table).run(); err != nil {
				return fmt.Errorf("empty %s: %w", table, err)
			}
		}
		t.reset = true
		return nil
	}})
	if err == nil {
		_, err = s.sweepOrphans(ctx, 0)
	}
	if err != nil {
		return fmt.Errorf("reset the database in %s: %w", s.dir, err)
	}
	return nil
}
