package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// together has the changes of several callers stored by one transaction. SQLite
// takes one transaction at a time, and each waits for the disk: while one does,
// others come, and the next transaction has them all. Nobody waits for others
// to come.
type together struct {
	turn    chan struct{} // held by who stores; has room for one
	mu      sync.Mutex
	waiting []*part
}

func newTogether() *together { return &together{turn: make(chan struct{}, 1)} }

// mostTogether bounds a transaction, and how long a reader's snapshot or a fault in
// one part delays the others.
const mostTogether = 32

// part is one caller's change.
type part struct {
	ctx    context.Context // its caller's: another caller may make the change
	tx     *Tx
	change func(*Tx) error
	err    error
	done   chan struct{} // closed once err says what became of it
}

// errAbandoned: who stored the change together with its own has panicked.
var errAbandoned = errors.New("the transaction was given up by another that shared it")

// do stores a part, or has one that stores meanwhile take it along.
func (g *together) do(ctx context.Context, s *Store, p *part) error {
	g.mu.Lock()
	g.waiting = append(g.waiting, p)
	g.mu.Unlock()
	for {
		select {
		case <-p.done:
			return p.err
		case g.turn <- struct{}{}:
			g.lead(s) // p among them, unless many came before
		case <-ctx.Done():
			if g.withdraw(p) {
				return fmt.Errorf("begin transaction: %w", ctx.Err())
			}
			<-p.done // it is being stored
			return p.err
		}
	}
}

// withdraw takes a part back that nobody has begun to store.
func (g *together) withdraw(p *part) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, q := range g.waiting {
		if q == p {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// lead stores those that wait, the oldest first, and gives the turn back.
func (g *together) lead(s *Store) {
	g.mu.Lock()
	n := min(len(g.waiting), mostTogether)
	parts := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()
	defer func() {
		for _, p := range parts { // of a panic
			p.end(errAbandoned)
		}
		<-g.turn
	}()
	if len(parts) > 1 && s.share(parts) {
		return
	}
	for _, p := range parts {
		p.end(s.alone(p.ctx, p.tx, p.change))
	}
}

// end tells a part's caller, once.
func (p *part) end(err error) {
	select {
	case <-p.done:
	default:
		p.err = err
		close(p.done)
	}
}

// share stores all parts in one transaction. It returns false, with nothing
// stored, where one of them fails: each is then stored alone, so that the error is
// its own.
func (s *Store) share(parts []*part) bool {
	// No part's end may undo the others'.
	tx, err := s.write.BeginTx(context.WithoutCancel(parts[0].ctx), nil)
	if err != nil {
		return endAll(parts, fmt.Errorf("begin transaction: %w", err))
	}
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing
	for _, p := range parts {
		if !p.within(tx) {
			return false
		}
	}
	return endAll(parts, s.end(tx))
}

// within makes the part's change in a transaction and says whether it could.
func (p *part) within(tx *sql.Tx) bool {
	p.tx.tx = tx
	return p.ctx.Err() == nil && p.change(p.tx) == nil
}

func endAll(parts []*part, err error) bool {
	for _, p := range parts {
		p.end(err)
	}
	return true
}
