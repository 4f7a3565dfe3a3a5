package sns

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A FIFO topic remembers the deduplication ids of the last five minutes in
// documents that are written in the transaction that publishes, so that a
// message is published once also when the process dies. The ids of a topic are
// spread over dedupShards documents, to keep each small; a write throws out what
// is too old.
const dedupShards = 256

// A dedupShard is a document of ids, by deduplication id (with the group before
// it, where the topic deduplicates per group).
type dedupShard struct {
	Format int `json:"v"`
	IDs    map[string]dedupEntry
}

type dedupEntry struct {
	At        time.Time
	MessageID string
	Sequence  string
}

// forget removes what is older than the window.
func (d *dedupShard) forget(now time.Time) {
	for id, e := range d.IDs {
		if now.Sub(e.At) >= store.DedupWindow {
			delete(d.IDs, id)
		}
	}
}

func dedupKey(t *Topic, m *message) string {
	if t.Attributes["FifoThroughputScope"] == "MessageGroup" {
		return m.GroupID + "\x00" + m.DedupID
	}
	return m.DedupID
}

func dedupName(t *Topic, key string) string {
	return fmt.Sprintf("%s/%02x", t.ID, hash32(key)%dedupShards)
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}

// sequence returns a number that rises with every message of this node: twenty
// digits, as at AWS. It is taken from a time-ordered id.
func sequence(id sestina.ID) string {
	ms := binary.BigEndian.Uint64(id[:8]) >> 16
	counter := uint64(binary.BigEndian.Uint16(id[6:8]) & 0xfff)
	return strconv.FormatUint(10_000_000_000_000_000_000+ms<<12+counter, 10)
}

// lockGroups keeps others from publishing to the groups of ms until the returned
// function is called, so that sequence numbers and commits are in one order.
func (s *Service) lockGroups(t *Topic, ms []*message) (unlock func()) {
	var locks []int
	for _, m := range ms {
		locks = append(locks, int(hash32(t.ID.String()+m.GroupID)%uint32(len(s.groups))))
	}
	slices.Sort(locks)
	locks = slices.Compact(locks)
	for _, i := range locks {
		s.groups[i].Lock()
	}
	return func() {
		for _, i := range locks {
			s.groups[i].Unlock()
		}
	}
}

// publishFIFO publishes messages to a FIFO topic in one transaction. A message
// that was published before gets the id and number that it got then.
func (s *Service) publishFIFO(ctx context.Context, scope sestina.Scope, t *Topic, ms []*message) error {
	defer s.lockGroups(t, ms)()
	effects := make([]store.Effects, len(ms))
	for i, m := range ms {
		m.Sequence = sequence(s.IDs.New(s.Clock.Now()))
		c, err := s.fanOut(ctx, scope, t, m, origin{})
		if err != nil {
			return err
		}
		effects[i] = c.effects
	}
	answers := make([]dedupEntry, len(ms))
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if err := sameTopicStill(tx, scope, t); err != nil {
			return err
		}
		var all store.Effects
		now := s.Clock.Now()
		for i, m := range ms {
			key := dedupKey(t, m)
			err := change(tx, scope, kindDedup, dedupName(t, key), func(d *dedupShard) (*dedupShard, error) {
				if d == nil {
					d = &dedupShard{Format: format}
				}
				d.forget(now)
				if e, ok := d.IDs[key]; ok {
					answers[i] = e
					return d, nil
				}
				if d.IDs == nil {
					d.IDs = map[string]dedupEntry{}
				}
				answers[i] = dedupEntry{At: now, MessageID: m.MessageID, Sequence: m.Sequence}
				d.IDs[key] = answers[i]
				all.Merge(effects[i])
				return d, nil
			})
			if err != nil {
				return err
			}
		}
		return tx.Apply(all)
	})
	if err != nil {
		return err
	}
	for i, m := range ms {
		if m.MessageID == answers[i].MessageID {
			continue
		}
		// A duplicate: ms is the caller's, and nothing else refers to m.
		ms[i] = &message{MessageID: answers[i].MessageID, Sequence: answers[i].Sequence}
	}
	return nil
}

// sweepDedup throws out ids that FIFO topics need not remember.
func (s *Service) sweepDedup(ctx context.Context, now time.Time) error {
	type place struct {
		scope sestina.Scope
		id    sestina.ID
	}
	var fifo []place
	s.topics.All(func(scope sestina.Scope, _ string, t *Topic) bool {
		if t.FIFO {
			fifo = append(fifo, place{scope, t.ID})
		}
		return true
	})
	for _, p := range fifo {
		docs, err := s.Store.List(ctx, p.scope, kindDedup, p.id.String()+"/", dedupShards)
		if err != nil {
			return fmt.Errorf("list deduplication ids of topic %s: %w", p.id, err)
		}
		for _, d := range docs {
			if !strings.HasPrefix(d.Name, p.id.String()+"/") {
				break
			}
			if err := s.forgetIDs(ctx, d, now); err != nil {
				return fmt.Errorf("forget deduplication ids of topic %s: %w", p.id, err)
			}
		}
	}
	return nil
}

// forgetIDs writes a document of ids anew when some of them are too old.
func (s *Service) forgetIDs(ctx context.Context, d store.Document, now time.Time) error {
	seen, err := decode[dedupShard](d)
	if err != nil {
		return err
	}
	n := len(seen.IDs)
	if seen.forget(now); len(seen.IDs) == n {
		return nil
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		return change(tx, d.Scope, kindDedup, d.Name, func(cur *dedupShard) (*dedupShard, error) {
			if cur == nil {
				return nil, nil
			}
			if cur.forget(now); len(cur.IDs) == 0 {
				return nil, nil
			}
			return cur, nil
		})
	})
}
