package paiement

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	deletePositions = `DELETE FROM positions`
	deleteOutbox    = `DELETE FROM outbox`
	deleteSetAside  = `DELETE FROM set_aside`
	deleteReadBack  = `DELETE FROM read_back WHERE topic = $1`
	deleteAll       = `DELETE FROM ledger`
	deleteOrder     = `DELETE FROM ledger WHERE order_id = $1`
	countEntries    = `SELECT COUNT(*) FROM ledger`
)

// Surroundings is what a reset goes by besides the ledger itself.
type Surroundings struct {
	// Identities are those of the cluster and the topics, as
	// [kafka.Identities] returns them.
	Identities map[string]string
	// Stamps are those that the other services' storages were made for.
	Stamps map[string]string
	// Began is what the offsets of paiement's group say: what a ledger that is lost
	// cannot tell.
	Began     kafka.Began
	Log       kafka.Log
	Publisher delivery.BatchPublisher
}

// Reset is a ledger that is about to be reset. What was decided and purged stays
// in it wherever it can be read and belongs to the same cluster: the topics may
// have lost what it knows. What it does not know either is noted, so that the
// rebuild has a horizon.
type Reset struct {
	around  Surroundings
	store   *storage.Store // nil: it cannot be read
	pending []storage.Pending
	entries int64
	known   map[record.Partition]int64 // up to where it has been read back
	empty   bool                       // there was none
	foreign bool                       // it belongs to another cluster
	current bool                       // it has all that its group has done
	locked  *storage.Locked            // in place of the store
	url     string
}

// OpenReset opens the ledger, which no instance may have open meanwhile, and looks
// at what a reset means to it. It changes nothing.
func OpenReset(ctx context.Context, url string, around Surroundings) (r *Reset, err error) {
	r = &Reset{around: around, url: url}
	if r.store, err = openAlone(ctx, url); errors.Is(err, storage.ErrDamaged) {
		r.locked, err = storage.Lock(ctx, url, Name)
		return r, err
	}
	if err == nil {
		err = r.look(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func openAlone(ctx context.Context, url string) (*storage.Store, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return storage.Open(ctx, url, Name, own, storage.Alone())
}

// Close gives the ledger back.
func (r *Reset) Close() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.locked != nil {
		errs = append(errs, r.locked.Unlock())
	}
	return errors.Join(errs...)
}

func (r *Reset) look(ctx context.Context) (err error) {
	if r.known, err = (&rebuild{store: store{r.store}}).readBackTo(ctx); err != nil {
		return fmt.Errorf("look up to where the ledger was read back: %w", err)
	}
	if err := r.store.QueryRow(ctx, countEntries).Scan(&r.entries); err != nil {
		return fmt.Errorf("count the ledger's entries: %w", err)
	}
	var own map[string]string
	if r.pending, own, err = readOwn(ctx, r.url); err != nil {
		return err
	}
	r.empty = len(own) == 0 && len(r.known) == 0 && r.entries == 0
	if !r.empty { // one without a stamp has been reset, and has noted what it lacks
		r.around.Stamps, r.around.Began.Others = own, nil
	}
	r.foreign = differs(r.around, "cluster")
	if r.current, err = r.isCurrent(ctx); err != nil {
		return err
	}
	return r.knowMore(ctx)
}

// knowMore adds what the ledger knows without having read it back: the purges that
// it has come to, and the decisions that it has made, all that there are where it
// has all that its group has done.
func (r *Reset) knowMore(ctx context.Context) error {
	spans, err := r.around.Log.Bounds(ctx, settlements()...)
	if err != nil {
		return err
	}
	for _, s := range spans {
		known := s.Start
		if s.Topic == banking.TopicOrdersDLQ {
			if known, _, err = r.store.Position(ctx, s.Partition); err != nil {
				return err
			}
		}
		if r.Complete() && r.known[s.Partition] >= 0 {
			r.known[s.Partition] = max(r.known[s.Partition], known)
		}
	}
	return nil
}

// readOwn reads what has perhaps not been published, and what the ledger was
// made for.
func readOwn(ctx context.Context, url string) (pending []storage.Pending, stamps map[string]string, err error) {
	reader, err := storage.OpenReadOnly(ctx, url, Name)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	err = reader.Snapshot(ctx, func(s *storage.Snapshot) (err error) {
		if pending, err = s.Pending(ctx); err == nil {
			stamps, err = s.Stamps(ctx)
		}
		return err
	})
	return pending, stamps, err
}

// isCurrent says whether the ledger has all that its group has done: it is no
// older copy. Where the group does not say what it has done, it may be one.
func (r *Reset) isCurrent(ctx context.Context) (bool, error) {
	if differs(r.around, kafka.TopicIdentity(banking.TopicOrdersCreated)) {
		return false, nil
	}
	own, err := store{r.store}.Alone(ctx)
	if err != nil || own[generation] < saidAlone(r.around.Began)[generation] {
		return false, err
	}
	orders, err := r.around.Log.Bounds(ctx, banking.TopicOrdersCreated)
	if err != nil {
		return false, err
	}
	read := false
	for _, s := range orders {
		next, known, err := r.store.Position(ctx, s.Partition)
		committed, said := r.around.Began.Committed[s.Partition]
		if err != nil || known != said || next < committed {
			return false, err
		}
		read = read || known
	}
	return read, nil
}

// differs says whether something has another identity than the storages were
// made for.
func differs(around Surroundings, name string) bool {
	was, now := around.Stamps[name], around.Identities[name]
	return was != "" && now != "" && was != now
}

// Lost says whether there is no ledger, or none that can be read, so that all
// that it alone knew is lost.
func (r *Reset) Lost() bool { return r.store == nil || r.empty }

// Entries is how many orders the ledger knows that stay settled; 0 where it is
// lost or belongs to another cluster.
func (r *Reset) Entries() int64 {
	if r.foreign {
		return 0
	}
	return r.entries
}

// Replaced are the topics of decisions and purges that are others than the
// storages were made for.
func (r *Reset) Replaced() (topics []string) {
	for _, t := range settlements() {
		if r.foreign || differs(r.around, kafka.TopicIdentity(t)) || slices.Contains(r.around.Began.Others, t) {
			topics = append(topics, t)
		}
	}
	return topics
}

// Knows says whether the ledger knows what a partition held before an offset, as
// far as decisions and purges are among it.
func (r *Reset) Knows(p record.Partition, before int64) bool {
	return !slices.Contains(settlements(), p.Topic) || !r.foreign && r.known[p] >= before
}

// Complete says whether the ledger knows what its topics no longer hold, also
// where they have been replaced.
func (r *Reset) Complete() bool { return !r.Lost() && !r.foreign && r.current }

// Do has the ledger begin anew at the topics' start. What it has decided and
// perhaps not published is published first; of one that others have gone past, an
// older copy, it is forgotten: what came of it the topics say. All or nothing is
// stored, whatever crashes.
func (r *Reset) Do(ctx context.Context) error {
	complete := r.Complete()
	if r.store == nil {
		if err := r.locked.Clear(ctx); err != nil {
			return err
		}
		err := r.locked.Unlock()
		if err != nil {
			return err
		}
		if r.store, err = openAlone(ctx, r.url); err != nil {
			return err
		}
	}
	if complete {
		if err := r.publish(ctx); err != nil {
			return err
		}
	}
	spans, err := r.around.Log.Bounds(ctx, settlements()...)
	if err != nil {
		return err
	}
	err = r.store.Update(ctx, func(tx *storage.Tx) error { return r.change(ctx, tx, spans, complete) })
	if err != nil {
		return fmt.Errorf("reset the ledger: %w", err)
	}
	return nil
}

func (r *Reset) publish(ctx context.Context) error {
	for _, p := range r.pending {
		out := make([]*sarama.ProducerMessage, len(p.Messages))
		for i, m := range p.Messages {
			out[i] = kafka.Outgoing(m)
		}
		if err := r.around.Publisher.PublishAll(ctx, out); err != nil {
			return fmt.Errorf("publish what the ledger had decided: %w", err)
		}
	}
	return nil
}

func (r *Reset) change(ctx context.Context, tx *storage.Tx, spans []kafka.Span, complete bool) error {
	if err := tx.ClearStamp(ctx); err != nil {
		return err
	}
	for _, statement := range []string{deletePositions, deleteOutbox, deleteSetAside} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if r.foreign {
		for _, statement := range []string{deleteAll, deleteAlone} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
	}
	if r.foreign || differs(r.around, kafka.TopicIdentity(banking.TopicOrdersCreated)) {
		if _, err := tx.Exec(ctx, deletePlaces, horizonName); err != nil { // of other records
			return err
		}
		if _, err := tx.Exec(ctx, deleteAlonePlaces, banking.TopicOrdersCreated+"/%"); err != nil {
			return err
		}
	}
	if !complete {
		if err := r.forgetPending(ctx, tx); err != nil {
			return err
		}
	}
	return r.noteKnown(ctx, tx, spans, complete)
}

// noteKnown stores up to where the ledger knows what the topics held.
func (r *Reset) noteKnown(ctx context.Context, tx *storage.Tx, spans []kafka.Span, complete bool) error {
	replacedTopics := r.Replaced()
	for _, topic := range replacedTopics {
		if _, err := tx.Exec(ctx, deleteReadBack, topic); err != nil {
			return err
		}
	}
	for _, s := range spans {
		next, known := r.known[s.Partition]
		switch another := slices.Contains(replacedTopics, s.Topic); {
		case !another && !known:
			continue
		case another && complete:
			next = alone
		case another:
			next = replaced
		}
		if _, err := tx.Exec(ctx, insertReadBack, s.Topic, s.ID, next); err != nil {
			return err
		}
	}
	return nil
}

// forgetPending removes the decisions that have perhaps not been published.
func (r *Reset) forgetPending(ctx context.Context, tx *storage.Tx) error {
	for _, p := range r.pending {
		for _, m := range p.Messages {
			if m.Topic == banking.TopicOrdersDLQ {
				continue // sets the order's record aside, which is not in the ledger
			}
			if _, err := tx.Exec(ctx, deleteOrder, string(m.Key)); err != nil {
				return err
			}
		}
	}
	return nil
}
