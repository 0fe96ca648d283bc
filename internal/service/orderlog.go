package service

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// OrderLog writes the lines of which there is one for each order. Of a share of the orders it leaves them out, the same
// orders in every service. Warnings and errors do not belong here. A nil OrderLog logs nothing.
type OrderLog struct {
	handler slog.Handler
	share   float64 // of the orders that are left out
	leftOut metric.Int64Counter
}

// NewOrderLog makes an OrderLog. Its metric is seen as zero from the start.
func NewOrderLog(ctx context.Context, log *slog.Logger, instruments *telemetry.Instruments, leftOut float64) (*OrderLog, error) {
	counter, err := instruments.Int64Counter(leftOutMetric)
	if err != nil {
		return nil, err
	}
	counter.Add(ctx, 0)
	return &OrderLog{log.Handler(), leftOut, counter}, nil
}

// Info logs at INFO what became of an order, with its id as order_id. It is called for every order, so that it looks for
// no source line, which no handler here shows.
func (l *OrderLog) Info(ctx context.Context, orderID, message string, attrs ...slog.Attr) {
	if l == nil || !l.handler.Enabled(ctx, slog.LevelInfo) {
		return
	}
	if l.share > 0 && shareOf(orderID) < l.share {
		l.leftOut.Add(ctx, 1)
		return
	}
	line := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
	line.AddAttrs(slog.String("order_id", orderID))
	line.AddAttrs(attrs...)
	_ = l.handler.Handle(ctx, line) // as slog, which has nobody to tell
}

// shareOf places a text evenly in [0, 1), the same one everywhere and for ever: FNV-1a, and the last steps of
// MurmurHash3, without which texts that differ only in their ends lie close together.
func shareOf(text string) float64 {
	hash := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * 0x100000001b3
	}
	hash = (hash ^ hash>>33) * 0xff51afd7ed558ccd
	hash = (hash ^ hash>>33) * 0xc4ceb9fe1a85ec53
	return float64((hash^hash>>33)>>11) / (1 << 53)
}
