package sqlite

import (
	"os"
	"sync/atomic"

	"github.com/sestina-mail/sestina/internal/store"
)

// counters are what the writer counts for Stats.
type counters struct {
	commits, commands, failures, largest atomic.Uint64
}

// batch counts one batch of n ops.
func (c *counters) batch(n int, committed bool, err error) {
	c.commands.Add(uint64(n))
	switch {
	case err != nil:
		c.failures.Add(1)
	case committed:
		c.commits.Add(1)
	}
	for {
		old := c.largest.Load()
		if uint64(n) <= old || c.largest.CompareAndSwap(old, uint64(n)) {
			return
		}
	}
}

// Stats implements store.Store. It looks at two files, nothing else.
func (s *Store) Stats() store.Stats {
	return store.Stats{
		Commits: s.stats.commits.Load(), Commands: s.stats.commands.Load(), Failures: s.stats.failures.Load(),
		LargestBatch: s.stats.largest.Load(), Queued: len(s.queue),
		Database: fileSize(s.path), WAL: fileSize(s.path + "-wal"),
	}
}

// fileSize returns 0 for a file that is not there, as the log is not at first.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
