package paiement

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
)

// A topic of decisions or purges that was deleted and made again says nothing of what it
// held before. A ledger that knows that, or that it is missing, is alone in it: were it lost,
// or replaced by an older copy, nobody would see that there was something. So it keeps the horizon that
// another one would have to have, and has it committed with the group's offsets. A ledger
// that finds more there than it has itself takes that for its own horizon.

const (
	selectAlone = `SELECT name, value FROM alone`
	insertAlone = `INSERT INTO alone (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE alone.value < excluded.value`
	deleteAlone       = `DELETE FROM alone`
	deleteAlonePlaces = `DELETE FROM alone WHERE name LIKE $1`

	// aloneSaid is under what name the group's offsets have it.
	aloneSaid = "only the ledger knows"
	// generation counts the times that a ledger became alone. Their horizons cannot tell which
	// of two ledgers knows more: clocks go back.
	generation = "generation"
)

// Alone returns the horizon of a ledger that would have to do without this one, and its
// generation: 0 where the topics say everything.
func (s store) Alone(ctx context.Context) (rows map[string]int64, err error) {
	found, err := s.Query(ctx, selectAlone)
	if err != nil {
		return nil, fmt.Errorf("read what only this ledger knows: %w", err)
	}
	defer func() { _ = found.Close() }()
	rows = map[string]int64{}
	for found.Next() {
		var name string
		var value int64
		if err := found.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("read what only this ledger knows: %w", err)
		}
		rows[name] = value
	}
	return rows, found.Err()
}

// say has what only this ledger knows committed with the group's offsets.
func (s store) say(ctx context.Context, topics *kafka.Identity) error {
	rows, err := s.Alone(ctx)
	if err != nil || rows[generation] == 0 {
		return err
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("say what only this ledger knows: %w", err)
	}
	topics.Say(aloneSaid, string(text))
	return nil
}

// saidAlone is what the group's offsets say that only a ledger knew, of all ledgers. Places
// are of the records of a topic that may be another by now.
func saidAlone(began kafka.Began) map[string]int64 {
	said := map[string]int64{}
	for _, texts := range began.Said {
		var rows map[string]int64
		if json.Unmarshal([]byte(texts[aloneSaid]), &rows) != nil {
			continue // nothing, or somebody else's
		}
		another := differs(Surroundings{Stamps: texts, Identities: began.Now}, kafka.TopicIdentity(banking.TopicOrdersCreated))
		for name, value := range rows {
			if !another || name == horizonName || name == generation {
				said[name] = max(said[name], value)
			}
		}
	}
	return said
}

// becomeAlone raises the horizon that another ledger would have to have.
func becomeAlone(ctx context.Context, tx *storage.Tx, rows map[string]int64) error {
	for name, value := range rows {
		if _, err := tx.Exec(ctx, insertAlone, name, value); err != nil {
			return fmt.Errorf("keep what only this ledger knows: %w", err)
		}
	}
	return nil
}
