package sqlite

import (
	"fmt"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/store"
)

// diskInterval is how long an answer about free disk is good for.
const diskInterval = 250 * time.Millisecond

// A diskGuard refuses new input while free disk is below the reserve.
type diskGuard struct {
	dir     string
	reserve int64
	free    func(dir string) (int64, error)
	clock   *clock.Clock

	mu    sync.Mutex
	asked time.Time
	err   error
}

// check returns ErrUnavailable while there is too little free disk. When the
// operating system does not tell, writing itself will.
func (g *diskGuard) check() error {
	if g.reserve <= 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	if !g.asked.IsZero() && now.Sub(g.asked) < diskInterval {
		return g.err
	}
	g.asked, g.err = now, nil
	if n, err := g.free(g.dir); err == nil && n < g.reserve {
		g.err = fmt.Errorf("%w: %d bytes are free on the disk of %s, %d are kept in reserve", store.ErrUnavailable, n, g.dir, g.reserve)
	}
	return g.err
}
