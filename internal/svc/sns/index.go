package sns

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// An index has all subscriptions in memory, by id and by topic. It follows the
// store as a Listener. Subscriptions are shared and must not be changed. It may
// be used concurrently.
type index struct {
	store store.Store

	mu       sync.RWMutex
	loaded   bool
	revision int64 // newest seen
	byID     map[sestina.ID]*Subscription
	topics   map[sestina.ID]*topicSubs
	scopes   map[sestina.Scope]*scopeSubs
}

// topicSubs are the subscriptions of one topic.
type topicSubs struct {
	subs    []*Subscription // by id
	byName  map[string]indexed
	counts  [3]int // by state
	filters int    // filter policies of subscriptions that are not deleted
}

type indexed struct {
	sub      *Subscription
	revision int64
}

// scopeSubs is what is counted and listed per scope.
type scopeSubs struct {
	topics  map[sestina.ID]bool // that have subscriptions
	order   []sestina.ID        // of topics; nil when it has to be made again
	filters int
}

func newIndex(s store.Store) *index {
	x := &index{
		store: s, byID: make(map[sestina.ID]*Subscription),
		topics: make(map[sestina.ID]*topicSubs), scopes: make(map[sestina.Scope]*scopeSubs),
	}
	s.Subscribe(x)
	return x
}

// refresh reads what changed since the newest revision that is known.
func (x *index) refresh(ctx context.Context) error {
	x.mu.RLock()
	since := x.revision
	x.mu.RUnlock()
	for {
		docs, err := x.store.Changed(ctx, since, 1000)
		if err != nil {
			return fmt.Errorf("read documents newer than revision %d: %w", since, err)
		}
		if len(docs) == 0 {
			x.mu.Lock()
			x.loaded = true
			x.mu.Unlock()
			return nil
		}
		x.DocumentsChanged(docs)
		since = docs[len(docs)-1].Revision
	}
}

// Committed implements store.Listener.
func (x *index) Committed(store.Change) {}

// DocumentsChanged implements store.Listener.
func (x *index) DocumentsChanged(docs []store.Document) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range docs {
		if d.Kind == kindSubscription {
			x.apply(d)
		}
		x.revision = max(x.revision, d.Revision)
	}
}

func (x *index) apply(d store.Document) {
	topicID, err := sestina.ParseID(strings.SplitN(d.Name, "/", 2)[0])
	if err != nil {
		return // not a name that this package makes
	}
	t := x.topics[topicID]
	if t == nil {
		t = &topicSubs{byName: make(map[string]indexed)}
		x.topics[topicID] = t
	}
	old := t.byName[d.Name]
	if old.sub != nil && old.revision >= d.Revision {
		return
	}
	var sub *Subscription
	if !d.Deleted {
		if sub, err = decode[Subscription](d); err != nil {
			return // of a newer format: keep what is known until this node is replaced
		}
	}
	sc := x.scopes[d.Scope]
	if sc == nil {
		sc = &scopeSubs{topics: make(map[sestina.ID]bool)}
		x.scopes[d.Scope] = sc
	}
	x.drop(sc, t, d.Name)
	if sub != nil {
		x.add(sc, t, sub)
		t.byName[d.Name] = indexed{sub, d.Revision}
	}
	if len(t.subs) == 0 {
		delete(x.topics, topicID)
	}
	if had, has := sc.topics[topicID], len(t.subs) > 0; had != has {
		sc.order = nil
		if has {
			sc.topics[topicID] = true
		} else {
			delete(sc.topics, topicID)
		}
	}
}

func (x *index) add(sc *scopeSubs, t *topicSubs, sub *Subscription) {
	i, _ := t.find(sub.ID)
	t.subs = slices.Insert(t.subs, i, sub)
	t.counts[sub.State]++
	if sub.filter != nil && sub.State != deleted {
		t.filters++
		sc.filters++
	}
	x.byID[sub.ID] = sub
}

func (x *index) drop(sc *scopeSubs, t *topicSubs, name string) {
	old := t.byName[name].sub
	if old == nil {
		return
	}
	if i, ok := t.find(old.ID); ok {
		t.subs = slices.Delete(t.subs, i, i+1)
	}
	t.counts[old.State]--
	if old.filter != nil && old.State != deleted {
		t.filters--
		sc.filters--
	}
	delete(x.byID, old.ID)
	delete(t.byName, name)
}

// find returns where a subscription is, or belongs, in subs.
func (t *topicSubs) find(id sestina.ID) (int, bool) {
	return slices.BinarySearchFunc(t.subs, id, func(s *Subscription, id sestina.ID) int {
		return slices.Compare(s.ID[:], id[:])
	})
}

// get returns the subscription with the id, or nil.
func (x *index) get(id sestina.ID) *Subscription {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.mustBeLoaded()
	return x.byID[id]
}

// mustBeLoaded panics when Load was forgotten: every subscription made before
// the start would silently get nothing.
func (x *index) mustBeLoaded() {
	if !x.loaded {
		panic("sns: Service.Load was not called")
	}
}

// lookup is get that reads the store's news before it returns nil.
func (x *index) lookup(ctx context.Context, scope sestina.Scope, id sestina.ID) (*Subscription, error) {
	sub := x.get(id)
	if sub == nil {
		if err := x.refresh(ctx); err != nil {
			return nil, err
		}
		sub = x.get(id)
	}
	if sub == nil || sub.scope != scope {
		return nil, nil
	}
	return sub, nil
}

// page returns up to limit subscriptions of a topic with an id greater than
// after, in order of id, and whether there may be more.
func (x *index) page(topic, after sestina.ID, limit int) (subs []*Subscription, more bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.mustBeLoaded()
	t := x.topics[topic]
	if t == nil {
		return nil, false
	}
	i, found := t.find(after)
	if found {
		i++
	}
	rest := t.subs[i:]
	n := min(limit, len(rest))
	return slices.Clone(rest[:n]), n < len(rest)
}

// backlogs returns the subscriptions of a topic for which messages may wait:
// queues have theirs at once.
func (x *index) backlogs(topic sestina.ID) (ids []sestina.ID) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if t := x.topics[topic]; t != nil {
		for _, sub := range t.subs {
			if sub.Protocol != protocolSQS {
				ids = append(ids, sub.ID)
			}
		}
	}
	return ids
}

// topicsFrom returns the ids of topics with subscriptions, from the given one
// on, in order of id.
func (x *index) topicsFrom(scope sestina.Scope, from sestina.ID) []sestina.ID {
	x.mu.Lock()
	defer x.mu.Unlock()
	sc := x.scopes[scope]
	if sc == nil {
		return nil
	}
	if sc.order == nil {
		for id := range sc.topics {
			sc.order = append(sc.order, id)
		}
		slices.SortFunc(sc.order, func(a, b sestina.ID) int { return slices.Compare(a[:], b[:]) })
	}
	i, _ := slices.BinarySearchFunc(sc.order, from, func(a, b sestina.ID) int { return slices.Compare(a[:], b[:]) })
	return sc.order[i:]
}

// counts returns how many subscriptions of a topic are in each state.
func (x *index) counts(topic sestina.ID) [3]int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if t := x.topics[topic]; t != nil {
		return t.counts
	}
	return [3]int{}
}

// filters returns how many filter policies a topic and its scope have.
func (x *index) filters(scope sestina.Scope, topic sestina.ID) (ofTopic, ofScope int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if t := x.topics[topic]; t != nil {
		ofTopic = t.filters
	}
	if sc := x.scopes[scope]; sc != nil {
		ofScope = sc.filters
	}
	return ofTopic, ofScope
}

// all returns every subscription that fn selects.
func (x *index) all(fn func(*Subscription) bool) []*Subscription {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []*Subscription
	for _, sub := range x.byID {
		if fn(sub) {
			out = append(out, sub)
		}
	}
	return out
}

// decode reads a document of this package. What follows from its place in the
// store is set by those types that have a member for it.
func decode[T any](d store.Document) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(d.Data, v); err != nil {
		return nil, fmt.Errorf("decode %s %q of %s: %w", d.Kind, d.Name, d.Scope, err)
	}
	if p, ok := any(v).(interface{ placed(store.Document) }); ok {
		p.placed(d)
	}
	return v, nil
}

// change reads a document, lets fn make its new value, and writes that. cur is
// nil when there is none; a nil result deletes.
func change[T any](tx store.Tx, scope sestina.Scope, kind, name string, fn func(cur *T) (*T, error)) error {
	doc, err := tx.Get(scope, kind, name)
	var cur *T
	switch {
	case isNotFound(err):
		doc = store.Document{Scope: scope, Kind: kind, Name: name}
	case err != nil:
		return err
	default:
		if cur, err = decode[T](doc); err != nil {
			return err
		}
	}
	exists := cur != nil
	next, err := fn(cur)
	if err != nil {
		return err
	}
	if next == nil {
		if !exists {
			return nil
		}
		return tx.Delete(scope, kind, name, doc.Version)
	}
	if doc.Data, err = json.Marshal(next); err != nil {
		return fmt.Errorf("encode %s %q of %s: %w", kind, name, scope, err)
	}
	return tx.Put(doc)
}
