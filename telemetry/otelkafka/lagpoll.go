package otelkafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

// Run polls the log's ends, at once, then every interval and after each assignment, until ctx ends. A failed
// poll keeps the last ends and is tried again at the next; the failure is logged when it starts and when it is
// over. Run returns when the poll under way has ended, which the client's network timeouts bound.
func (l *Lag) Run(ctx context.Context) {
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	failing := false
	for ctx.Err() == nil {
		err := l.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			l.logger.WarnContext(ctx, "log ends cannot be read: lag stands still", "error", err)
		case err == nil && failing:
			l.logger.InfoContext(ctx, "log ends can be read again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-l.wake:
		}
	}
}

// poll asks once for all assigned partitions. The lock is not held meanwhile.
func (l *Lag) poll(ctx context.Context) error {
	all, unresolved := l.snapshot()
	if len(all) == 0 {
		return nil
	}
	starts := make(map[TopicPartition]int64)
	if len(unresolved) > 0 {
		var err error
		if starts, err = l.source.Offsets(ctx, sarama.OffsetOldest, keys(unresolved)); err != nil {
			l.apply(all, starts, nil)
			return err
		}
	}
	ends, err := l.source.Offsets(ctx, sarama.OffsetNewest, keys(all))
	l.apply(all, starts, ends)
	return err
}

// snapshot returns the partitions assigned, and those among them whose start is not known.
func (l *Lag) snapshot() (all, unresolved map[TopicPartition]*progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, unresolved = make(map[TopicPartition]*progress), make(map[TopicPartition]*progress)
	for at, p := range l.parts {
		all[at] = p
		if p.next == sarama.OffsetOldest {
			unresolved[at] = p
		}
	}
	return all, unresolved
}

// apply takes the answers. Those for a partition that was revoked or assigned anew meanwhile go to the progress
// that was asked for, which nobody reads any more.
func (l *Lag) apply(asked map[TopicPartition]*progress, starts, ends map[TopicPartition]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for at, p := range asked {
		if start, ok := starts[at]; ok && p.next == sarama.OffsetOldest {
			p.next = start
		}
		if end, ok := ends[at]; ok {
			p.polled(end, now)
		}
	}
}

func keys(parts map[TopicPartition]*progress) []TopicPartition {
	list := make([]TopicPartition, 0, len(parts))
	for at := range parts {
		list = append(list, at)
	}
	return list
}
