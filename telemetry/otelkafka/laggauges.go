package otelkafka

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

func (l *Lag) observeRecords(_ context.Context, o metric.Int64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		if records, known := p.records(); known {
			o.Observe(records, p.options...)
		}
	}
	return nil
}

func (l *Lag) observeSeconds(_ context.Context, o metric.Float64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, p := range l.parts {
		if age, known := p.age(now); known {
			o.Observe(age.Seconds(), p.options...)
		}
	}
	return nil
}
