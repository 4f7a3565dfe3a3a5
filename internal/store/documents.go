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
	// Shared says that other nodes use the same store: what Find misses is then
	// read from the store. Set it before the cache is used.
	Shared bool

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
	cache *Cache
	store Store
	kind  string

	mu     sync.RWMutex
	scopes map[sestina.Scope]*scopeDocs[T]
	heard  int64 // the newest revision of the kind that the store told of
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
	d := &Documents[T]{cache: c, store: c.store, kind: kind, scopes: map[sestina.Scope]*scopeDocs[T]{}}
	c.kinds[kind] = d
	return d
}

func (d *Documents[T]) apply(doc Document) error {
	v, err := decode[T](doc)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = max(d.heard, doc.Revision)
	d.keep(doc, v)
	return nil
}

// decode returns the value of a document, or nil when it is deleted.
func decode[T any](doc Document) (*T, error) {
	if doc.Deleted {
		return nil, nil
	}
	v := new(T)
	if err := json.Unmarshal(doc.Data, v); err != nil {
		return nil, fmt.Errorf("decode %s %q of %s: %w", doc.Kind, doc.Name, doc.Scope, err)
	}
	return v, nil
}

// keep puts the value of doc into the cache unless that has a newer one. The
// caller holds the lock.
func (d *Documents[T]) keep(doc Document, v *T) {
	sc := d.scopes[doc.Scope]
	if sc == nil {
		sc = &scopeDocs[T]{byName: map[string]entry[T]{}}
		d.scopes[doc.Scope] = sc
	}
	old, known := sc.byName[doc.Name]
	if known && old.revision >= doc.Revision {
		return
	}
	if v == nil {
		delete(sc.byName, doc.Name)
		sc.names = nil
		return
	}
	sc.byName[doc.Name] = entry[T]{value: v, revision: doc.Revision}
	if !known {
		sc.names = nil
	}
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

// Find is Get, but what the cache does not have is read from the store when
// other nodes use that too: one of them may just have made it. It returns nil
// when there is none. ErrUnavailable.
func (d *Documents[T]) Find(ctx context.Context, s sestina.Scope, name string) (*T, error) {
	if v := d.Get(s, name); v != nil || !d.cache.Shared {
		return v, nil
	}
	return d.Refresh(ctx, s, name)
}

// Refresh returns the value as the store has it now, or nil, and keeps it for
// Get. It is for who finds that the cached value is not new enough. When no
// other node uses the store it is Get. ErrUnavailable.
func (d *Documents[T]) Refresh(ctx context.Context, s sestina.Scope, name string) (*T, error) {
	if !d.cache.Shared {
		return d.Get(s, name), nil
	}
	doc, err := d.store.Get(ctx, s, d.kind, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil // the cache hears of it
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s %q in the store: %w", d.kind, name, err)
	}
	v, err := decode[T](doc)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if doc.Revision > d.heard { // else it may have been deleted since, which was heard
		d.keep(doc, v)
	}
	return v, nil
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
