package postgres

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A claimed unit and the token of its lease.
type claimed struct {
	message, unit sestina.ID
	token         uint64
}

// claims are the leases that this node's workers hold: those that have to be
// prolonged while the node lives, and given up when it closes.
type claims struct {
	mu    sync.Mutex
	round int             // of prolonging
	held  map[claimed]int // the round in which the lease was last good for all its time
}

func newClaims() *claims { return &claims{held: map[claimed]int{}} }

func (c *claims) add(units []store.Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range units {
		c.held[claimed{u.MessageID, u.ID, u.Token}] = c.round
	}
}

// drop forgets leases that have ended.
func (c *claims) drop(ended []claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range ended {
		delete(c.held, k)
	}
}

// aging begins a round and returns the leases that were there in the last one.
func (c *claims) aging() (out []claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	for k, round := range c.held {
		if round < c.round-1 {
			out = append(out, k)
		}
	}
	return out
}

// prolonged notes that leases are good for all their time again.
func (c *claims) prolonged(keys []claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		if _, ok := c.held[k]; ok {
			c.held[k] = c.round
		}
	}
}

func (c *claims) all() (out []claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.held {
		out = append(out, k)
	}
	return out
}

// leaseNow is the database's clock. It is asked once per statement.
const leaseNow = `(SELECT (extract(epoch FROM now()) * 1000)::bigint)`

const unitColumns = `message_id, id, scope, kind, lane, due, state, attempts, event_id, target, envelope, finished_at, answer, payload`

// claimUnits leases units that nobody holds, for claims of several lanes. A unit
// that another node is about to claim is passed over.
const claimUnits = `
	WITH picked AS (
		SELECT c.n, c.token, p.m, p.i
		FROM unnest($1, $2, $3, $4, $5, $6) AS c (n, kind, lane, now, most, token)
		CROSS JOIN LATERAL (
			SELECT message_id AS m, id AS i FROM units
			WHERE kind = c.kind AND lane = c.lane AND state = 0 AND due <= c.now AND lease_until <= ` + leaseNow + `
			ORDER BY due, id LIMIT c.most FOR UPDATE SKIP LOCKED) p)
	UPDATE units SET lease_token = token, lease_until = ` + leaseNow + ` + $7
	FROM picked WHERE message_id = m AND id = i
	RETURNING n, ` + unitColumns + `, lease_token`

// relaxed makes the transaction's commit not wait for the disk. A claim that
// is lost with the database's machine is one that nobody holds: its results
// are fenced, and the unit is claimed again.
const relaxed = `SELECT set_config('synchronous_commit', 'off', true)`

// A claim is a Claim that waits for its turn.
type claim struct {
	kind  store.Kind
	lane  string
	now   time.Time
	limit int
	found unitRows
	units []store.Unit
	err   error
	done  chan struct{} // closed when it is answered
}

// claimers is how many goroutines claim; claimsAtOnce is for how many lanes
// each claims in one statement.
const (
	claimers     = 2
	claimsAtOnce = 128
)

// Claim leases due units of a lane, together with others that claim now.
func (s *Store) Claim(ctx context.Context, kind store.Kind, lane string, now time.Time, limit int) ([]store.Unit, error) {
	c := &claim{kind: kind, lane: lane, now: now, limit: limit, done: make(chan struct{})}
	err := ctx.Err()
	if !storable(lane) {
		return nil, fmt.Errorf("claim units of lane %q: it is no text", lane)
	}
	if err == nil {
		err = s.inTime(ctx, func(context.Context) error {
			s.claiming <- c
			<-c.done
			return c.err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("claim units of lane %q: %w", lane, err)
	}
	return c.units, nil
}

// claimer answers claims until there will be no more. The more callers, the
// fewer transactions per claim.
func (s *Store) claimer() {
	for c := range s.claiming {
		batch := []*claim{c}
		lanes := map[laneKey]bool{{c.kind, c.lane}: true}
		for more := true; more && len(batch) < claimsAtOnce; {
			select {
			case c, more = <-s.claiming:
			default:
				more = false
			}
			if !more {
				break
			}
			k := laneKey{c.kind, c.lane}
			if more = !lanes[k]; !more { // one claim per lane and statement
				s.claimAll([]*claim{c})
				break
			}
			lanes[k] = true
			batch = append(batch, c)
		}
		s.claimAll(batch)
	}
}

// claimAll carries out claims of different lanes and answers them.
func (s *Store) claimAll(batch []*claim) {
	var t table
	for i, c := range batch {
		token := rand.Uint64N(1<<63-1) + 1 // 0 means not claimed
		t.row().int(int64(i)).int(int64(c.kind)).text(c.lane).time(c.now).int(int64(c.limit)).int(int64(token))
	}
	ctx := context.Background()
	find := stmt(claimUnits, new(args).table(&t).int(s.lease.Milliseconds())).rows(func(r *row) error {
		found := &batch[r.int()].found
		err := found.scan(r)
		found.list[len(found.list)-1].Token = uint64(r.int())
		return err
	})
	err := s.repeat(func() error {
		for _, c := range batch {
			c.found = unitRows{}
		}
		return s.reads.once(ctx, stmt(relaxed, nil), find)
	})
	for _, c := range batch {
		if c.err = err; err == nil {
			c.units, c.err = c.found.units(ctx, s)
		}
		slices.SortFunc(c.units, func(a, b store.Unit) int {
			return cmp.Or(a.Due.Compare(b.Due), slices.Compare(a.ID[:], b.ID[:]))
		})
		s.claims.add(c.units)
		close(c.done)
	}
}

// prolongUnits leaves out units that somebody changes at this moment: their
// leases end, or it is done again in time.
const prolongUnits = `
	WITH picked AS (
		SELECT u.message_id AS m, u.id AS i FROM unnest($1, $2, $3) AS h (m, i, token)
		JOIN units u ON u.message_id = h.m AND u.id = h.i
		WHERE u.state = 0 AND u.lease_token = h.token
		FOR UPDATE OF u SKIP LOCKED)
	UPDATE units SET lease_until = ` + leaseNow + ` + $4
	FROM picked WHERE message_id = m AND id = i
	RETURNING message_id, id, lease_token`

// prolong keeps leases from ending while their units are being worked on. A
// lease is prolonged when between a third and two thirds of its time are over.
func (s *Store) prolong() {
	failing := false
	for s.pause(s.lease / 3) {
		var err error
		for keys := range slices.Chunk(s.claims.aging(), 1000) {
			if err = s.prolongSome(keys); err != nil {
				break
			}
		}
		switch {
		case err != nil && !failing:
			s.log.Warn("leases cannot be prolonged", "error", err)
		case err == nil && failing:
			s.log.Info("leases are prolonged again")
		}
		failing = err != nil
	}
}

func (s *Store) prolongSome(keys []claimed) error {
	var t table
	for _, k := range keys {
		t.row().id(k.message).id(k.unit).int(int64(k.token))
	}
	var done []claimed
	ctx, cancel := context.WithTimeout(s.life, s.lease)
	defer cancel()
	err := s.writes.run(ctx, stmt(relaxed, nil),
		stmt(prolongUnits, new(args).table(&t).int(s.lease.Milliseconds())).rows(func(r *row) error {
			done = append(done, claimed{r.id(), r.id(), uint64(r.int())})
			return nil
		}))
	s.claims.prolonged(done)
	return err
}

// releaseAll gives up the leases that are held when the store closes, so that
// other nodes need not wait for their end.
func (s *Store) releaseAll() {
	ctx, cancel := context.WithTimeout(context.Background(), outcomeClosing)
	defer cancel()
	for keys := range slices.Chunk(s.claims.all(), 1000) {
		var t table
		for _, k := range keys {
			t.row().id(k.message).id(k.unit).int(int64(k.token))
		}
		if err := s.writes.run(ctx, stmt(releaseUnits, new(args).table(&t))); err != nil {
			s.log.Warn("leases cannot be given up and will end by themselves", "units", len(keys), "error", err)
			return
		}
	}
}

// pause waits and reports whether the store is still open.
func (s *Store) pause(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(s.life, d)
	defer cancel()
	<-ctx.Done()
	return s.life.Err() == nil
}
