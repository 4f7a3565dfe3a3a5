package sqlite

import (
	"math/rand/v2"
	"sync"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// claims are the units that workers hold, in memory.
//
// Claim reads rows from a snapshot and then looks here whether a row is held.
// Between the two a unit can be finished: its commit drops the claim, while the
// snapshot still shows it waiting. So every reader registers before it takes
// its snapshot, and a claim that is dropped while readers are registered leaves
// a note with the time (a counter) of the drop: a reader that registered before
// it does not trust its row, a later one has a snapshot that knows better.
type claims struct {
	mu      sync.Mutex
	token   uint64 // last one given
	now     uint64 // counts drops
	held    map[sestina.ID]claim
	dropped map[sestina.ID]uint64 // by when they were dropped
	readers map[uint64]int        // registered, by when they came
}

// A claim is a lease. One that is ending belongs to a Finish in the current
// transaction; another Finish of the same batch finds it gone.
type claim struct {
	token  uint64
	ending bool
}

func newClaims() *claims {
	return &claims{
		// A random start: a token from before a restart fits nothing.
		token:   rand.Uint64(),
		held:    map[sestina.ID]claim{},
		dropped: map[sestina.ID]uint64{},
		readers: map[uint64]int{},
	}
}

// enter registers a reader before its snapshot.
func (c *claims) enter() (at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers[c.now]++
	return c.now
}

// leave ends what enter began.
func (c *claims) leave(at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readers[at]--; c.readers[at] == 0 {
		delete(c.readers, at)
	}
	if len(c.readers) == 0 {
		clear(c.dropped)
		return
	}
	if len(c.dropped) < 4096 {
		return
	}
	oldest := c.now
	for at := range c.readers {
		oldest = min(oldest, at)
	}
	for id, when := range c.dropped {
		if when <= oldest {
			delete(c.dropped, id)
		}
	}
}

// take claims a unit that a reader registered at saw waiting. It returns 0 when
// the unit is held or was finished meanwhile.
func (c *claims) take(id sestina.ID, at uint64) (token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isFree(id, at) {
		return 0
	}
	c.token++
	if c.token == 0 { // 0 means not claimed
		c.token = 1
	}
	c.held[id] = claim{token: c.token}
	return c.token
}

// free reports whether take would succeed.
func (c *claims) free(id sestina.ID, at uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isFree(id, at)
}

func (c *claims) isFree(id sestina.ID, at uint64) bool {
	if _, held := c.held[id]; held {
		return false
	}
	return c.dropped[id] <= at
}

// end marks a claim as ending with the current transaction. ErrFenced when it
// is not held with the token.
func (c *claims) end(id sestina.ID, token uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.held[id]
	if !ok || h.ending || h.token != token {
		return store.ErrFenced
	}
	c.held[id] = claim{token: token, ending: true}
	return nil
}

// resume takes back end: the transaction was rolled back.
func (c *claims) resume(ids []sestina.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if h, ok := c.held[id]; ok {
			c.held[id] = claim{token: h.token}
		}
	}
}

// drop ends claims after the commit that finished their units.
func (c *claims) drop(ids []sestina.ID) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	for _, id := range ids {
		delete(c.held, id)
		if len(c.readers) > 0 {
			c.dropped[id] = c.now
		}
	}
}

// release ends a claim whose unit did not change. It reports false when the
// unit is not held with the token.
func (c *claims) release(id sestina.ID, token uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.held[id]
	if !ok || h.ending || h.token != token {
		return false
	}
	delete(c.held, id)
	return true
}

// clear ends all claims.
func (c *claims) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.held)
}
