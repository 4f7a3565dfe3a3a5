package postgres

import (
	"context"
	"fmt"
	"sync"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// scopeNames maps scopes to the small numbers that rows carry, and back. Rows
// of the table scopes are never changed or deleted.
type scopeNames struct {
	mu    sync.RWMutex
	ids   map[sestina.Scope]int64
	names map[int64]sestina.Scope
}

func newScopeNames() *scopeNames {
	return &scopeNames{ids: map[sestina.Scope]int64{}, names: map[int64]sestina.Scope{}}
}

func (n *scopeNames) learn(s sestina.Scope, id int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids[s] = id
	n.names[id] = s
}

// id returns the number of a scope as far as it is known here, else 0.
func (n *scopeNames) id(s sestina.Scope) int64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.ids[s]
}

// findScope returns the number of a scope, or 0 when no row has it.
func (s *Store) findScope(ctx context.Context, sc sestina.Scope) (int64, error) {
	id := s.scopes.id(sc)
	if id != 0 || !storable(sc.Account) || !storable(sc.Region) {
		return id, nil
	}
	err := s.reads.run(ctx, stmt(`SELECT id FROM scopes WHERE account = $1 AND region = $2`, new(args).text(sc.Account).text(sc.Region)).
		rows(func(r *row) error { id = r.int(); return nil }))
	if err != nil {
		return 0, fmt.Errorf("find scope %s: %w", sc, err)
	}
	if id != 0 {
		s.scopes.learn(sc, id)
	}
	return id, nil
}

// scopeName returns the scope with a number.
func (s *Store) scopeName(ctx context.Context, id int64) (sc sestina.Scope, err error) {
	s.scopes.mu.RLock()
	sc, ok := s.scopes.names[id]
	s.scopes.mu.RUnlock()
	if ok {
		return sc, nil
	}
	err = s.reads.run(ctx, stmt(`SELECT account, region FROM scopes WHERE id = $1`, new(args).int(id)).
		rows(func(r *row) error {
			sc = sestina.Scope{Account: r.text(), Region: r.text()}
			s.scopes.learn(sc, id)
			return nil
		}))
	if err != nil {
		return sc, fmt.Errorf("read scope %d: %w", id, err)
	}
	return sc, nil
}

// addScopes sees to it that all scopes of the rows have numbers that are known
// here. They get them in a transaction of their own.
func (s *Store) addScopes(ctx context.Context, e *store.Effects) error {
	for i := range e.Messages {
		if err := s.addScope(ctx, e.Messages[i].Scope); err != nil {
			return err
		}
	}
	for i := range e.Events {
		if err := s.addScope(ctx, e.Events[i].Scope); err != nil {
			return err
		}
	}
	for i := range e.Units {
		if err := s.addScope(ctx, e.Units[i].Scope); err != nil {
			return err
		}
	}
	for i := range e.Envelopes {
		if err := s.addScope(ctx, e.Envelopes[i].Scope); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addScope(ctx context.Context, sc sestina.Scope) error {
	if s.scopes.id(sc) != 0 {
		return nil
	}
	if id, err := s.findScope(ctx, sc); id != 0 || err != nil {
		return err
	}
	err := s.reads.run(ctx, stmt(`INSERT INTO scopes (account, region) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		new(args).text(sc.Account).text(sc.Region)))
	if err == nil {
		var id int64
		if id, err = s.findScope(ctx, sc); err == nil && id == 0 {
			err = store.ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("add scope %s: %w", sc, err)
	}
	return nil
}
