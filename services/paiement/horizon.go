package paiement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// The horizon is the time from which on the ledger knows what became of every
// order. One that was placed before it and is not in the ledger may have been
// decided all the same: by a decision that the ledger has forgotten for its age,
// or that was cut from the topics before the ledger was rebuilt from them. It is
// not decided again but set aside, unless somebody who knows better has lowered
// the horizon.
//
// Where nothing says when that was, a clock that is behind has it too early: then
// the records that stood in orders.created at the time are before the horizon too,
// whatever times they bear.

// skew is what the clocks that give orders, decisions and purges their times
// may differ by.
const skew = 5 * time.Minute

const (
	horizonName   = "orders" // its row; those of places have the names of their partitions
	selectHorizon = `SELECT COALESCE((SELECT decides_from FROM horizon WHERE name = $1), 0),
COALESCE((SELECT decides_from FROM horizon WHERE name = $2), 0)`
	selectWhole = `SELECT COALESCE(MAX(micros), 0) FROM (
SELECT decides_from AS micros FROM horizon WHERE name = $1 UNION ALL SELECT value FROM alone WHERE name = $1) AS times`
	raiseHorizon = `INSERT INTO horizon (name, decides_from) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET decides_from = excluded.decides_from WHERE horizon.decides_from < excluded.decides_from`
	lowerHorizon = `UPDATE horizon SET decides_from = $2 WHERE name = $1 AND decides_from > $2`
	deletePlaces = `DELETE FROM horizon WHERE name <> $1`
)

// horizon is where a partition's orders begin to be decided.
type horizon struct {
	from   time.Time // those placed before it are not; zero for none
	before int64     // nor are the records before this offset
}

// Horizon returns where the orders of a partition begin to be decided.
func (s store) Horizon(ctx context.Context, p record.Partition) (h horizon, err error) {
	var micros int64
	if err := s.QueryRow(ctx, selectHorizon, horizonName, p.String()).Scan(&micros, &h.before); err != nil {
		return h, fmt.Errorf("read from when on orders are decided: %w", err)
	}
	if micros != 0 {
		h.from = time.UnixMicro(micros).UTC()
	}
	return h, nil
}

// ReadDecidesFrom returns the time from which on the topics have all decisions and purges,
// zero where they have always: what is older the ledger may be alone in knowing, or nobody
// knows it.
func ReadDecidesFrom(ctx context.Context, s *storage.Snapshot) (time.Time, error) {
	var micros int64
	if err := s.QueryRow(ctx, selectWhole, horizonName).Scan(&micros); err != nil {
		return time.Time{}, fmt.Errorf("read from when on the topics have everything: %w", err)
	}
	if micros == 0 {
		return time.Time{}, nil
	}
	return time.UnixMicro(micros).UTC(), nil
}

// raise has no order decided any more that was placed before a time.
func raise(ctx context.Context, tx *storage.Tx, to time.Time) error {
	return raiseRow(ctx, tx, horizonName, to.UnixMicro())
}

func raiseRow(ctx context.Context, tx *storage.Tx, name string, to int64) error {
	if _, err := tx.Exec(ctx, raiseHorizon, name, to); err != nil {
		return fmt.Errorf("raise from when on orders are decided: %w", err)
	}
	return nil
}

// Lower has orders decided from an earlier time on, wherever their records stand,
// and says from when they were. It changes nothing where they are decided from that
// time on already.
func (s store) Lower(ctx context.Context, to time.Time) (was time.Time, lowered bool, err error) {
	before, err := s.Horizon(ctx, record.Partition{})
	if err != nil {
		return was, false, err
	}
	micros := int64(0)
	if !to.IsZero() {
		micros = to.UnixMicro()
	}
	err = s.Update(ctx, func(tx *storage.Tx) error {
		places, err := tx.Exec(ctx, deletePlaces, horizonName)
		if err == nil && places > 0 { // of what they kept from being decided, the time alone would not
			err = raiseRow(ctx, tx, horizonName, micros)
		}
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, lowerHorizon, horizonName, micros)
		lowered = n+places > 0
		return err
	})
	if err != nil {
		return was, false, fmt.Errorf("lower the time from which on orders are decided: %w", err)
	}
	return before.from, lowered, nil
}

// DecideFrom is a request to decide orders although the ledger cannot know what
// became of them. The zero value requests nothing.
type DecideFrom struct {
	all  bool
	time time.Time
}

// decideAll is the request to decide every order.
const decideAll = "all"

// ErrDecideFrom: a text is no time from which on orders could be decided.
var ErrDecideFrom = errors.New(`want a time such as 2026-11-28T09:00:00Z, or "all"`)

// ParseDecideFrom reads a time as in RFC 3339, or "all"; "" requests nothing.
func ParseDecideFrom(text string) (DecideFrom, error) {
	switch text {
	case "":
		return DecideFrom{}, nil
	case decideAll:
		return DecideFrom{all: true}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.UnixMicro() <= 0 {
		return DecideFrom{}, fmt.Errorf("%.64q: %w", text, ErrDecideFrom)
	}
	return DecideFrom{time: at.UTC()}, nil
}
