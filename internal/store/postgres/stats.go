package postgres

import (
	"sync/atomic"

	"github.com/sestina-mail/sestina/internal/store"
)

// counters are what the writers count for Stats.
type counters struct {
	commits, commands, failures, largest atomic.Uint64
}

// batch counts one batch of n ops.
func (c *counters) batch(n int, err error) {
	c.commands.Add(uint64(n))
	if err != nil {
		c.failures.Add(1)
	} else {
		c.commits.Add(1)
	}
	for {
		old := c.largest.Load()
		if uint64(n) <= old || c.largest.CompareAndSwap(old, uint64(n)) {
			return
		}
	}
}

// Stats implements store.Store.
func (s *Store) Stats() store.Stats {
	s.claims.mu.Lock()
	held := len(s.claims.held)
	s.claims.mu.Unlock()
	return store.Stats{
		Commits: s.stats.commits.Load(), Commands: s.stats.commands.Load(), Failures: s.stats.failures.Load(),
		LargestBatch: s.stats.largest.Load(), Queued: len(s.commands) + len(s.updates),
		Connections: int(s.writes.Stat().TotalConns() + s.reads.Stat().TotalConns()), Claims: held,
	}
}
