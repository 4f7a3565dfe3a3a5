package sqlite

import (
	"fmt"
	"sync"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// scopeNames maps scopes to the small numbers that rows carry, and back. Rows
// of the table scopes are never changed.
type scopeNames struct {
	mu    sync.RWMutex
	ids   map[sestina.Scope]int64
	names map[int64]sestina.Scope
}

func newScopeNames() *scopeNames {
	return &scopeNames{ids: map[sestina.Scope]int64{}, names: map[int64]sestina.Scope{}}
}

// forget drops everything known, because a transaction that may have added
// scopes was rolled back.
func (n *scopeNames) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.ids)
	clear(n.names)
}

func (n *scopeNames) learn(s sestina.Scope, id int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids[s] = id
	n.names[id] = s
}

// find returns the number of a scope, or 0 when no row has it.
func (n *scopeNames) find(c *conn, s sestina.Scope) (int64, error) {
	n.mu.RLock()
	id := n.ids[s]
	n.mu.RUnlock()
	if id != 0 {
		return id, nil
	}
	q := c.sql(`SELECT id FROM scopes WHERE account = ? AND region = ?`).text(s.Account).text(s.Region)
	if q.next() {
		id = q.getInt()
	}
	if err := q.done(); err != nil {
		return 0, fmt.Errorf("find scope %s: %w", s, err)
	}
	if id != 0 {
		n.learn(s, id)
	}
	return id, nil
}

// add returns the number of a scope and gives it one when it has none. Only the
// writer calls it.
func (n *scopeNames) add(c *conn, s sestina.Scope) (int64, error) {
	id, err := n.find(c, s)
	if id != 0 || err != nil {
		return id, err
	}
	if err := c.sql(`INSERT INTO scopes (account, region) VALUES (?, ?)`).text(s.Account).text(s.Region).run(); err != nil {
		return 0, fmt.Errorf("add scope %s: %w", s, err)
	}
	id = c.db.LastInsertRowID()
	n.learn(s, id)
	return id, nil
}

// name returns the scope with a number.
func (n *scopeNames) name(c *conn, id int64) (s sestina.Scope, err error) {
	n.mu.RLock()
	s, ok := n.names[id]
	n.mu.RUnlock()
	if ok {
		return s, nil
	}
	q := c.sql(`SELECT account, region FROM scopes WHERE id = ?`).int(id)
	if ok = q.next(); ok {
		s = sestina.Scope{Account: q.getText(), Region: q.getText()}
	}
	if err := q.done(); err != nil {
		return s, fmt.Errorf("read scope %d: %w", id, err)
	}
	if ok {
		n.learn(s, id)
	}
	return s, nil
}
