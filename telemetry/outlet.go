package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// reportInterval is the least time between two log lines about one exporter.
	reportInterval = time.Minute
	// maxReportedError bounds, in bytes, what is logged of an error, which can hold a collector's whole answer.
	maxReportedError = 500
	// The SDK's own defaults, for OTEL_BSP_* and OTEL_BLRP_*.
	defaultQueue = 2048
	defaultBatch = 512
)

// errFlushTime ends an export that would outlast a shutdown.
var errFlushTime = errors.New("no time left to export")

// outlet stands around one of the SDK's batch processors and its exporter. It bounds what waits, counts what is
// lost, tells of it at most once a minute, and ends exports that would outlast a shutdown. The processors do the
// batching, but tell of losses only the global meter provider and error handler, which services of one process
// would share, and their shutdown leaves a goroutine behind where the exporter hangs.
type outlet struct {
	signal string
	limit  int64
	losses lossCounter
	log    *slog.Logger // never one that leads back into an outlet

	waiting    atomic.Int64 // admitted and not yet exported; never more than limit
	unreported atomic.Int64 // lost since the last log line
	closing    context.Context
	abort      context.CancelCauseFunc
	ended      chan struct{} // closed once the processor's worker is done

	mu       sync.Mutex
	reported time.Time // when the last log line was written
	failure  string    // the latest error since
}

func newOutlet(signal string, limit int, losses lossCounter, log *slog.Logger) *outlet {
	o := &outlet{signal: signal, limit: int64(limit), losses: losses, log: log, ended: make(chan struct{})}
	o.closing, o.abort = context.WithCancelCause(context.Background())
	return o
}

// admit says whether there is room for one more. The limit is the capacity of the processor's own queue, so that
// the queue never overflows and every loss is counted here.
func (o *outlet) admit() bool {
	if o.waiting.Add(1) <= o.limit {
		return true
	}
	o.waiting.Add(-1)
	o.lose(1, lostQueueFull)
	return false
}

func (o *outlet) lose(n int64, reason string) {
	o.losses.add(n, reason)
	o.unreported.Add(n)
}

// export sends n items and accounts for them, whatever comes of it. It runs on the processor's worker.
func (o *outlet) export(ctx context.Context, n int, send func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unbind := context.AfterFunc(o.closing, func() { cancel(errFlushTime) })
	defer unbind()
	err := send(ctx)
	o.waiting.Add(-int64(n))
	if err != nil {
		lost, reason := lossOf(err, int64(n))
		o.lose(lost, reason)
	}
	o.report(err)
}

// report logs the error and what was lost, unless it did so less than a minute ago or shutdown will. Only the
// processor's worker comes here: who records a span or a log line never waits for a log line.
func (o *outlet) report(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failure = cut(err.Error(), maxReportedError)
	}
	if o.closing.Err() == nil && (o.reported.IsZero() || time.Since(o.reported) >= reportInterval) {
		o.tell()
	}
}

// tell logs what there is to tell. It runs under the lock.
func (o *outlet) tell() {
	lost := o.unreported.Swap(0)
	if lost == 0 && o.failure == "" {
		return
	}
	if o.failure == "" {
		o.failure = "too much at once"
	}
	o.log.LogAttrs(context.Background(), slog.LevelWarn, "telemetry did not get out",
		slog.String("signal", o.signal), slog.Int64("lost", lost), slog.String("error", o.failure))
	o.reported, o.failure = time.Now(), ""
}

// shutdown flushes by stop, the processor's own shutdown, and returns once the processor's worker has ended. It
// keeps a tenth of the time left for that: then exports under way are cut off, and what they held counts as lost.
// A loss is logged and counted, and is no error.
func (o *outlet) shutdown(ctx context.Context, stop func(context.Context) error) error {
	flush, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		flush, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/10))
	}
	defer cancel()
	unbind := context.AfterFunc(flush, func() { o.abort(errFlushTime) })
	defer unbind()
	err := stop(flush)
	if flush.Err() != nil {
		err = nil
	}
	select {
	case <-o.ended:
	case <-ctx.Done():
		err = fmt.Errorf("exporter of %s still runs: %w", o.signal, context.Cause(ctx))
	}
	if lost := o.waiting.Swap(0); lost > 0 {
		o.lose(lost, lostExportFailed)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell()
	return err
}

// batchSizes reads the size of a queue and of its batches from the standard variables, OTEL_BSP_MAX_QUEUE_SIZE for
// one. What is no number above 0 counts as unset; the SDK would panic over some of them.
func batchSizes(prefix string) (queue, batch int) {
	read := func(name string, fallback int) int {
		n, err := strconv.Atoi(strings.TrimSpace(os.Getenv(prefix + name)))
		if err != nil || n < 1 {
			return fallback
		}
		return n
	}
	queue = read("MAX_QUEUE_SIZE", defaultQueue)
	return queue, min(read("MAX_EXPORT_BATCH_SIZE", defaultBatch), queue)
}
