package otelkafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

// Run polls, at once, then every interval and after each assignment, until ctx ends. A poll that fails keeps
// what was known of the partitions that it concerns and is tried again at the next; the failure is logged when it
// starts and when it is over. Run returns when no request is under way any more, which the client's network
// timeouts bound.
func (l *Lag) Run(ctx context.Context) {
	defer l.settle()
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

// poll asks for the ends of all logs, then, where records may be left, for the starts and for the first record.
// Each step takes at most the timeout and uses what the one before has brought.
func (l *Lag) poll(ctx context.Context) error {
	return errors.Join(l.pollEnds(ctx), l.pollStarts(ctx), l.pollFirst(ctx))
}

func (l *Lag) pollEnds(ctx context.Context) error {
	return l.pollOffsets(ctx, sarama.OffsetNewest,
		func(*progress) bool { return true },
		func(p *progress, end int64) { p.ended(end, l.now()) })
}

// pollStarts leaves out what is processed to its end: no deletion changes its lag.
func (l *Lag) pollStarts(ctx context.Context) error {
	return l.pollOffsets(ctx, sarama.OffsetOldest,
		func(p *progress) bool { return p.next == sarama.OffsetOldest || p.open() },
		(*progress).started)
}

func (l *Lag) pollOffsets(ctx context.Context, at int64, which func(*progress) bool, take func(*progress, int64)) error {
	asked := l.pick(which)
	if len(asked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	offsets, err := l.source.Offsets(ctx, at, keys(asked))
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, offset := range offsets {
		if p := asked[partition]; p != nil && offset >= 0 {
			take(p, offset)
		}
	}
	return err
}

// pollFirst looks into the logs where something is left that may be no record.
func (l *Lag) pollFirst(ctx context.Context) error {
	asked := l.pick((*progress).unseen)
	if l.finder == nil || len(asked) == 0 {
		return nil
	}
	from := make(map[TopicPartition]int64, len(asked))
	l.mu.Lock()
	for partition, p := range asked {
		from[partition] = p.position()
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	found, err := l.finder.FirstRecords(ctx, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, first := range found {
		if p := asked[partition]; p != nil {
			p.looked(from[partition], first)
		}
	}
	return err
}

// pick returns the assigned partitions of a kind. The lock is not held while the brokers are asked about them;
// what is said of one that was revoked or assigned anew meanwhile goes to a progress that nobody reads any more.
func (l *Lag) pick(which func(*progress) bool) map[TopicPartition]*progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	picked := make(map[TopicPartition]*progress)
	for partition, p := range l.parts {
		if which(p) {
			picked[partition] = p
		}
	}
	return picked
}

func keys(parts map[TopicPartition]*progress) []TopicPartition {
	list := make([]TopicPartition, 0, len(parts))
	for partition := range parts {
		list = append(list, partition)
	}
	return list
}
