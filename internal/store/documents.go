package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// A Cache keeps whole kinds of documents in memory, so that the hot path never
// reads documents from the database. It follows the store as a Listener: a
// change is visible here before the Update that made it returns.
type Cache struct {
	store Store
	kinds map[string]kindCache
}

type kindCache interface{ apply(Document) error }

// NewCache returns an empty cache and subscribes it to s. Register the kinds,
// then Load.
func NewCache(s Store) *Cache {
	c := &Cache{store: s, kinds: map[string]kindCache{}}
	s.Subscribe(c)
	return c
}

// Load reads all documents of the registered kinds.
func (c *Cache) Load(ctx context.Context) error {
	since := int64(0)
	for {
		docs, err := c.store.Changed(ctx, since, 1000)
		if err != nil {
			return fmt.Errorf("load documents newer than revision %d: %w", since, err)
		}
		if len(docs) == 0 {
			return nil
		}
		for _, d := range docs {
			if k := c.kinds[d.Kind]; k != nil {
				if err := k.apply(d); err != nil {
					return err
				}
			}
			since = d.Revision
		}
	}
}

// Committed implements Listener.
func (c *Cache) Committed(Change) {}

// DocumentsChanged implements Listener.
func (c *Cache) DocumentsChanged(docs []Document) {
	for _, d := range docs {
		if k := c.kinds[d.Kind]; k != nil {
			// A document this program wrote always decodes; one of a newer
			// format keeps the old value until this node is replaced.
			_ = k.apply(d)
		}
	}
}

// Documents is the typed, cached view of one kind of document. Values are
// shared and must not be changed by who reads them. It may be used
// concurrently.
type Documents[T any] struct {
	store Store
	kind  string

	mu     sync.RWMutex
	scopes map[sestina.Scope]*scopeDocs[T]
}

type scopeDocs[T any] struct {
	byName map[string]entry[T]
	names  []string // sorted; nil when it has to be made again
}

type entry[T any] struct {
	value    *T
	revision int64
}

// Register adds a kind to the cache.
func Register[T any](c *Cache, kind string) *Documents[T] {
	d := &Documents[T]{store: c.store, kind: kind, scopes: map[sestina.Scope]*scopeDocs[T]{}}
	c.kinds[kind] = d
	return d
}

func (d *Documents[T]) apply(doc Document) error {
	var v *T
	if !doc.Deleted {
		v = new(T)
		if err := json.Unmarshal(doc.Data, v); err != nil {
			return fmt.Errorf("decode %s %q of %s: %w", doc.Kind, doc.Name, doc.Scope, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sc := d.scopes[doc.Scope]
	if sc == nil {
		sc = &scopeDocs[T]{byName: map[string]entry[T]{}}
		d.scopes[doc.Scope] = sc
	}
	old, known := sc.byName[doc.Name]
	if known && old.revision >= doc.Revision {
		return nil
	}
	if v == nil {
		delete(sc.byName, doc.Name)
		sc.names = nil
		return nil
	}
	sc.byName[doc.Name] = entry[T]{value: v, revision: doc.Revision}
	if !known {
		sc.names = nil
	}
	return nil
}

// Get returns the value with the name, or nil.
func (d *Documents[T]) Get(s sestina.Scope, name string) *T {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if sc := d.scopes[s]; sc != nil {
		return sc.byName[name].value
	}
	return nil
}

// List returns up to limit values with a name > after, in byte order of names
// (all when limit is 0), and their names.
func (d *Documents[T]) List(s sestina.Scope, after string, limit int) (names []string, values []*T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sc := d.scopes[s]
	if sc == nil {
		return nil, nil
	}
	if sc.names == nil {
		sc.names = make([]string, 0, len(sc.byName))
		for n := range sc.byName {
			sc.names = append(sc.names, n)
		}
		sort.Strings(sc.names)
	}
	for i := sort.Search(len(sc.names), func(i int) bool { return sc.names[i] > after }); i < len(sc.names); i++ {
		if limit > 0 && len(names) == limit {
			break
		}
		names = append(names, sc.names[i])
		values = append(values, sc.byName[sc.names[i]].value)
	}
	return names, values
}

// All calls yield for every value of every scope, in no order, until it
// returns false.
func (d *Documents[T]) All(yield func(s sestina.Scope, name string, v *T) bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for s, sc := range d.scopes {
		for n, e := range sc.byName {
			if !yield(s, n, e.value) {
				return
			}
		}
	}
}

// Change reads the document, lets fn make the new value of it, and writes it,
// durably and with compare-and-swap. cur is a copy that fn may change and
// return, or nil when there is none; returning nil deletes (or leaves it
// missing). fn may run again and must not do I/O. It returns what was written.
func (d *Documents[T]) Change(ctx context.Context, s sestina.Scope, name string, fn func(tx Tx, cur *T) (*T, error)) (*T, error) {
	var out *T
	err := d.store.Update(ctx, func(tx Tx) error {
		v, err := d.ChangeTx(tx, s, name, fn)
		out = v
		return err
	})
	return out, err
}

// ChangeTx is Change inside a transaction that the caller runs.
func (d *Documents[T]) ChangeTx(tx Tx, s sestina.Scope, name string, fn func(tx Tx, cur *T) (*T, error)) (*T, error) {
	doc, err := tx.Get(s, d.kind, name)
	var cur *T
	switch {
	case errors.Is(err, ErrNotFound):
		doc = Document{Scope: s, Kind: d.kind, Name: name}
	case err != nil:
		return nil, err
	default:
		cur = new(T)
		if err := json.Unmarshal(doc.Data, cur); err != nil {
			return nil, fmt.Errorf("decode %s %q of %s: %w", d.kind, name, s, err)
		}
	}
	exists := cur != nil
	next, err := fn(tx, cur)
	if err != nil {
		return nil, err
	}
	if next == nil {
		if !exists {
			return nil, nil
		}
		return nil, tx.Delete(s, d.kind, name, doc.Version)
	}
	if doc.Data, err = json.Marshal(next); err != nil {
		return nil, fmt.Errorf("encode %s %q of %s: %w", d.kind, name, s, err)
	}
	return next, tx.Put(doc)
}

// Count returns how many documents of the kind a scope has, in a transaction.
func (d *Documents[T]) Count(tx Tx, s sestina.Scope) (int, error) { return tx.Count(s, d.kind) }
