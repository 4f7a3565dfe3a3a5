package postgres

import (
	"context"
	"fmt"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Do carries out a command. Those that only add or change rows they name share
// a transaction with others; those that look for their rows have their own.
func (s *Store) Do(ctx context.Context, cmd store.Command) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	size := store.RowOverhead
	switch c := cmd.(type) {
	case *store.Write:
		if err := s.addScopes(ctx, &c.Effects); err != nil {
			return err
		}
		size = c.Effects.Size()
	case *store.Finish:
		if err := s.addScopes(ctx, &c.Effects); err != nil {
			return err
		}
		size += len(c.Payload) + c.Effects.Size()
	case *store.SendQueued:
		for i := range c.Messages {
			size += store.RowOverhead + len(c.Messages[i].Body)
		}
	case *store.ReceiveQueued:
		return s.inTime(ctx, func(ctx context.Context) error { return s.receiveQueued(ctx, c) })
	case *store.MoveQueued:
		return s.inTime(ctx, func(ctx context.Context) error { return s.moveQueued(ctx, c) })
	case *store.PurgeQueued:
		return s.inTime(ctx, func(ctx context.Context) error { return s.purge(ctx, c) })
	case *store.Redrive:
		return s.inTime(ctx, func(ctx context.Context) error { return s.redrive(ctx, c) })
	}
	return s.write(ctx, s.commands, &op{cmd: cmd, size: size})
}

// inTime runs a command that has transactions of its own. Once it has begun it
// goes on though ctx ends, because its answer must tell what was committed.
func (s *Store) inTime(ctx context.Context, fn func(context.Context) error) error {
	s.sendMu.RLock()
	if s.ended {
		s.sendMu.RUnlock()
		return fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	s.senders.Add(1)
	s.sendMu.RUnlock()
	defer s.senders.Done()
	return fn(context.WithoutCancel(ctx))
}

// chunk is how many rows a command or sweep that may touch any number of them
// handles per transaction.
const chunk = 500

// redrive makes dead units wait again, in chunks.
func (s *Store) redrive(ctx context.Context, r *store.Redrive) error {
	r.Count = 0
	scope, err := s.findScope(ctx, r.Scope)
	if scope == 0 || err != nil {
		return err
	}
	room := func(n int) int {
		if r.Limit > 0 {
			n = min(n, r.Limit-r.Count)
		}
		return n
	}
	if r.IDs != nil {
		for ids := r.IDs; len(ids) > 0; {
			n := room(min(chunk, len(ids)))
			if n == 0 {
				return nil
			}
			if _, err := s.redriveSome(ctx, r, scope, ids[:n], n); err != nil {
				return err
			}
			ids = ids[n:]
		}
		return nil
	}
	for {
		n := room(chunk)
		if n == 0 {
			return nil
		}
		count, err := s.redriveSome(ctx, r, scope, nil, n)
		if err != nil || count < n {
			return err
		}
	}
}

// The attempt that ended a unit becomes one of its earlier ones.
const redriveUnits = `
	kept AS (
		INSERT INTO attempts (unit, n, at, took, answer)
		SELECT id, attempts, finished_at, coalesce(took, 0), coalesce(answer, '') FROM picked WHERE attempts > 0
		ON CONFLICT DO NOTHING)
	UPDATE units u SET state = 0, due = $3, finished_at = NULL, took = NULL, lease_token = 0, lease_until = 0
	FROM picked p WHERE u.message_id = p.message_id AND u.id = p.id
	RETURNING u.lane`

const (
	redriveNamed = `
		WITH picked AS (
			SELECT message_id, id, attempts, finished_at, took, answer FROM units
			WHERE scope = $1 AND kind = $2 AND state = 2 AND id = ANY ($5) AND ($4 = '' OR lane = $4) FOR UPDATE), ` + redriveUnits
	redriveScope = `
		WITH picked AS (
			SELECT message_id, id, attempts, finished_at, took, answer FROM units
			WHERE scope = $1 AND kind = $2 AND state = 2 AND $4 = ''
			ORDER BY id LIMIT $5 FOR UPDATE), ` + redriveUnits
	redriveLane = `
		WITH picked AS (
			SELECT message_id, id, attempts, finished_at, took, answer FROM units
			WHERE scope = $1 AND kind = $2 AND state = 2 AND lane = $4
			ORDER BY id LIMIT $5 FOR UPDATE), ` + redriveUnits
)

func (s *Store) redriveSome(ctx context.Context, r *store.Redrive, scope int64, ids []sestina.ID, limit int) (count int, err error) {
	a := new(args).int(scope).int(int64(r.Kind)).time(r.Now).text(r.Lane)
	var sql string
	switch {
	case ids != nil:
		sql, a = redriveNamed, a.ids(ids)
	case r.Lane == "":
		sql, a = redriveScope, a.int(int64(limit))
	default:
		sql, a = redriveLane, a.int(int64(limit))
	}
	var lanes []store.LaneDue
	find := stmt(sql, a).rows(func(row *row) error {
		lanes = append(lanes, store.LaneDue{Kind: r.Kind, Lane: row.text(), Due: r.Now})
		return nil
	})
	err = s.repeat(func() error {
		lanes = nil
		return s.reads.once(ctx, find)
	})
	if err != nil {
		return 0, fmt.Errorf("redrive units: %w", err)
	}
	count = len(lanes)
	r.Count += count
	s.tell(store.Change{Lanes: earliest(lanes)})
	return count, nil
}
