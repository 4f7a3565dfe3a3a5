package sns

import (
	"container/list"
	"sync"
)

// An lru keeps the values that were used last. It may be used concurrently.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	max   int
	order list.List // of *lruEntry, most recently used first
	byKey map[K]*list.Element
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](size int) *lru[K, V] {
	return &lru[K, V]{max: size, byKey: make(map[K]*list.Element)}
}

// get returns the value of the key, made by missing when there is none; a nil
// missing leaves it so. missing is called under the lock.
func (l *lru[K, V]) get(key K, missing func() V) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byKey[key]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*lruEntry[K, V]).value, true
	}
	if missing == nil {
		return v, false
	}
	v = missing()
	l.byKey[key] = l.order.PushFront(&lruEntry[K, V]{key, v})
	if l.order.Len() > l.max {
		last := l.order.Remove(l.order.Back()).(*lruEntry[K, V])
		delete(l.byKey, last.key)
	}
	return v, true
}

// put sets a value.
func (l *lru[K, V]) put(key K, v V) {
	l.get(key, func() V { return v })
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byKey[key]; e != nil {
		e.Value.(*lruEntry[K, V]).value = v
	}
}
