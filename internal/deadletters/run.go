package deadletters

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
)

const (
	// batchLetters and batchBytes bound what one partition's letters hold in
	// memory while they are settled.
	batchLetters = 256
	batchBytes   = 4 << 20
	// batchTime bounds one batch. It is finished even when the context ends,
	// so that no letter is replayed and left unmarked by Ctrl-C.
	batchTime = 30 * time.Second
)

// run is one call of Replay or Purge.
type run struct {
	Settler
	kind   string
	report func(Outcome)

	mu      sync.Mutex
	batches map[record.Partition]*batch
	left    map[record.Place]Letter // not reported yet
	sent    map[digest]struct{}
}

// batch is what has been read of one partition and not been settled.
type batch struct {
	letters []Whole
	bytes   int
}

// add returns the partition's batch once it is full.
func (r *run) add(w Whole) []Whole {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := w.ID.Partition
	b := r.batches[p]
	if b == nil {
		b = &batch{}
		r.batches[p] = b
	}
	b.letters = append(b.letters, w)
	b.bytes += w.size()
	if len(b.letters) < batchLetters && b.bytes < batchBytes {
		return nil
	}
	full := b.letters
	*b = batch{}
	return full
}

// flush settles the batches that did not become full.
func (r *run) flush(ctx context.Context) error {
	for _, b := range r.batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.process(ctx, b.letters)
	}
	return nil
}

// process settles a batch to its end, whatever becomes of the context.
func (r *run) process(ctx context.Context, letters []Whole) {
	if len(letters) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTime)
	defer cancel()
	steps := make([]*step, len(letters))
	for i, w := range letters {
		steps[i] = &step{whole: w, ctx: r.extract(ctx, w)}
	}
	if r.kind == record.Replayed {
		r.publish(steps)
	}
	r.mark(ctx, steps)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range steps {
		r.tell(s.whole.ID, s.err)
	}
}

// tell reports a letter. The caller holds the lock.
func (r *run) tell(id record.Place, err error) {
	if l, ok := r.left[id]; ok {
		delete(r.left, id)
		r.report(Outcome{Letter: l, Err: err})
	}
}

// reportLeft reports the letters that no batch has reported.
func (r *run) reportLeft(letters []Letter, err error) {
	if err == nil {
		err = ErrGone
	} else {
		err = fmt.Errorf("not tried: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range letters {
		r.tell(l.ID, err)
	}
}
