package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/extsort"
	"github.com/vigie-dev/vigie/internal/record"
)

// small is how much memory a sorter takes, in bytes, but for those of the orders:
// there is one for the log and one for the services' rows.
const small = 2 << 20

// errTemporary: a temporary file is not as it was written.
var errTemporary = errors.New("a temporary file has been changed by somebody else")

// log is what has been read of the topics. It keeps what the records say, by
// order, and not the records. Records may be added from several goroutines;
// reading waits until all have been.
type log struct {
	decoder
	extents extents
	orders  *extsort.Sorter // what was created and decided, by order
	letters *extsort.Sorter // dead letters and markers, by the letter's place
	origins *extsort.Sorter // unreadable orders, by what paiement sets aside of them
	// elsewhere counts unreadable records on other topics.
	elsewhere atomic.Int64
}

func newLog(cfg Config, d decoder) *log {
	return &log{
		decoder: d, extents: extents{all: map[record.Partition]*extent{}},
		orders: extsort.New(cfg.Dir, cfg.Memory/2), letters: extsort.New(cfg.Dir, small), origins: extsort.New(cfg.Dir, small),
	}
}

// add takes one record, in order within its partition.
func (l *log) add(r record.Record) error {
	id, f := l.decode(r)
	seen := l.extents.take(r)
	switch f := f.(type) {
	case nil:
		return nil
	case *creation:
		f.seen = seen
		return put(l.orders, orderKey(id), f)
	case *result:
		f.seen = seen
		return put(l.orders, orderKey(id), f)
	case *letter:
		return put(l.letters, placeKey("", f.at), f)
	case *marker:
		if f.event != "" {
			if err := put(l.orders, orderKey(id), &purge{f.at, f.event}); err != nil {
				return err
			}
		}
		return put(l.letters, placeKey("", f.letter), f)
	}
	if r.Topic != banking.TopicOrdersCreated {
		l.elsewhere.Add(1)
		return nil
	}
	return put(l.origins, placeKey(banking.GroupPaiement, r.Place), f)
}

// put adds a fact to a sorter.
func put(to *extsort.Sorter, key []byte, f fact) error {
	c := codec{buf: make([]byte, 1, 160), topics: topics()}
	c.buf[0] = f.kind()
	f.fields(&c)
	return to.Add(key, c.buf)
}

// take reads a fact that was put.
func take[F fact](value []byte, into F) (F, error) {
	c := codec{buf: value[1:], reading: true, topics: topics()}
	into.fields(&c)
	if c.damaged || len(c.buf) > 0 || value[0] != into.kind() {
		return into, errTemporary
	}
	return into, nil
}

// groups gives what the sorters hold to fact, one after the other, and calls
// end after the last of each key.
func groups(ctx context.Context, fact func(value []byte) error, end func(key []byte) error, sorters ...*extsort.Sorter) error {
	in, err := extsort.Merge(sorters...)
	if err != nil {
		return err
	}
	var key []byte
	open := false
	for n := 0; in.Next(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if open && !bytes.Equal(key, in.Key()) {
			if err := end(key); err != nil {
				return err
			}
			open = false
		}
		if !open {
			key, open = append(key[:0], in.Key()...), true
		}
		if len(in.Value()) == 0 {
			return errTemporary
		}
		if err := fact(in.Value()); err != nil {
			return fmt.Errorf("read what was sorted: %w", err)
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	if !open {
		return nil
	}
	return end(key)
}
