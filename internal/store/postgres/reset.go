package postgres

import (
	"context"
	"fmt"
	"strings"
)

// Ping commits a transaction and looks for what it left.
func (s *Store) Ping(ctx context.Context) error {
	err := s.write(ctx, s.commands, &op{})
	if err == nil {
		err = s.reads.run(ctx, stmt(`SELECT 1`, nil))
	}
	if err != nil {
		return fmt.Errorf("ping the database %s: %w", s.place, err)
	}
	return nil
}

// hotTables are all tables but the control plane's.
var hotTables = []string{
	"messages", "bodies", "body_chunks", "events", "envelopes", "units", "attempts", "lanes", "queue_messages", "queue_dedup",
}

// Reset deletes everything but documents in one transaction. Units that are
// claimed now are fenced. It waits for the batches of all nodes that are under
// way, and new ones wait for it.
func (s *Store) Reset(ctx context.Context) error {
	err := s.inTime(ctx, func(ctx context.Context) error {
		return s.repeat(func() error {
			return s.reads.run(ctx,
				stmt(`BEGIN`, nil),
				// Every batch begins with a row of writers.
				stmt(`LOCK TABLE writers IN EXCLUSIVE MODE`, nil),
				stmt(`TRUNCATE `+strings.Join(hotTables, ", "), nil),
				stmt(`COMMIT`, nil))
		})
	})
	if err != nil {
		return fmt.Errorf("reset the database %s: %w", s.place, err)
	}
	return nil
}
