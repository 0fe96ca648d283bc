// Package orderedmap stands for the one of its name: what is put into a map is
// dropped.
package orderedmap

// Map holds nothing.
type Map[K comparable, V any] struct{}

// New makes one.
func New[K comparable, V any]() *Map[K, V] { return &Map[K, V]{} }

// Set drops the pair.
func (*Map[K, V]) Set(K, V) (old V, present bool) { return old, false }

// First is nil, as there is no pair.
func (*Map[K, V]) First() *Pair[K, V] { return nil }

// Pair is never there.
type Pair[K comparable, V any] struct{}

// Next is nil.
func (*Pair[K, V]) Next() *Pair[K, V] { return nil }

// Key is the zero value.
func (*Pair[K, V]) Key() (key K) { return key }

// Value is the zero value.
func (*Pair[K, V]) Value() (value V) { return value }
