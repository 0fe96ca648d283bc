// Package labels keeps, for each label set that a metric has seen, what recording with it needs, so that a measurement
// allocates nothing and memory stays bounded whatever values come.
package labels

import "sync"

// Cache keeps one value for each label set K that was admitted: an instrument's options, say. All methods are safe for
// concurrent use.
type Cache[K comparable, V any] struct {
	admit func(K) bool
	build func(K) V

	mu   sync.RWMutex
	kept map[K]V
}

// NewCache returns an empty cache. admit says whether there is room for a label set, and always answers the same once it
// said yes; it bounds the cache. build makes the value that is kept. It runs under the cache's lock and must not use the
// cache.
func NewCache[K comparable, V any](admit func(K) bool, build func(K) V) *Cache[K, V] {
	return &Cache[K, V]{admit: admit, build: build, kept: make(map[K]V)}
}

// Get returns the label set's value, made the first time, and false where there is no room for it.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	found, ok := c.look(key)
	if ok {
		return found, true
	}
	if !c.admit(key) {
		return found, false
	}
	return c.keep(key), true
}

// GetOr is Get, but for a label set that there is no room for it returns the value of shared, the label set that such
// ones are counted under. For shared there always is room: there must be few of them.
func (c *Cache[K, V]) GetOr(key, shared K) V {
	if found, ok := c.Get(key); ok {
		return found
	}
	if found, ok := c.look(shared); ok {
		return found
	}
	return c.keep(shared)
}

func (c *Cache[K, V]) look(key K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found, ok := c.kept[key]
	return found, ok
}

func (c *Cache[K, V]) keep(key K) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.kept[key]
	if !ok {
		found = c.build(key)
		c.kept[key] = found
	}
	return found
}
