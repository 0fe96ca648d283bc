package delivery

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/record"
)

// ErrLogMismatch: storage's position does not fit the partition's log. Records
// would be skipped or processed again, so nothing is processed at all.
var ErrLogMismatch = errors.New("storage and log do not fit")

// Setup sets every assigned partition to storage's position before the first
// record arrives.
func (l *Loop[State, Change]) Setup(session sarama.ConsumerGroupSession) error {
	if err := l.deps.Rebalances.Setup(session); err != nil {
		return err
	}
	ctx := session.Context()
	committed, err := l.committed(session.Claims())
	if err != nil {
		return err
	}
	for topic, ids := range session.Claims() {
		for _, id := range ids {
			p := record.Partition{Topic: topic, ID: id}
			next, err := l.start(ctx, p, committed.GetBlock(topic, id))
			if err != nil {
				return fmt.Errorf("assign %s: %w", p, err)
			}
			// One of the two applies, whichever way Kafka's offset differs.
			session.ResetOffset(topic, id, next, "")
			session.MarkOffset(topic, id, next, "")
			l.starts.Store(p, next)
			l.deps.Lag.Assign(topic, id, next)
		}
	}
	l.joined.Store(true)
	l.deps.Log.Debug("partitions assigned", "group", l.cfg.Group, "claims", session.Claims())
	return nil
}

// Cleanup forgets the partitions: their lag is another's to report.
func (l *Loop[State, Change]) Cleanup(session sarama.ConsumerGroupSession) error {
	for topic, ids := range session.Claims() {
		for _, id := range ids {
			l.deps.Lag.Revoke(topic, id)
			l.starts.Delete(record.Partition{Topic: topic, ID: id})
		}
	}
	return l.deps.Rebalances.Cleanup(session)
}

// committed asks for the group's offsets in Kafka.
func (l *Loop[State, Change]) committed(claims map[string][]int32) (*sarama.OffsetFetchResponse, error) {
	admin, err := sarama.NewClusterAdminFromClient(l.deps.Control) // not closed: the client is shared
	if err != nil {
		return nil, fmt.Errorf("ask for the group's offsets: %w", err)
	}
	offsets, err := admin.ListConsumerGroupOffsets(l.cfg.Group, claims)
	if err != nil {
		return nil, fmt.Errorf("ask for the group's offsets: %w", err)
	}
	return offsets, nil
}

// start finds where to go on, checks it against the log and the group's
// offset, and stores the log's start for a partition that is new here.
func (l *Loop[State, Change]) start(ctx context.Context, p record.Partition, committed *sarama.OffsetFetchResponseBlock) (int64, error) {
	oldest, err := l.deps.Control.GetOffset(p.Topic, p.ID, sarama.OffsetOldest)
	if err != nil {
		return 0, fmt.Errorf("ask for the log's start: %w", err)
	}
	next, known, err := l.deps.Store.Position(ctx, p)
	if err != nil {
		return 0, err
	}
	// After the position, which the partition's last owner may still move: an
	// end that is older would seem to lie before it.
	end, err := l.deps.Control.GetOffset(p.Topic, p.ID, sarama.OffsetNewest)
	switch {
	case err != nil:
		return 0, fmt.Errorf("ask for the log's end: %w", err)
	case !known:
		return oldest, l.deps.Store.StartAt(ctx, p, oldest)
	case next < oldest:
		return 0, fmt.Errorf("%w: records %d to %d were deleted before they were processed", ErrLogMismatch, next, oldest-1)
	case next > end:
		return 0, fmt.Errorf("%w: storage has processed %d records, the log has %d", ErrLogMismatch, next, end)
	case committed != nil && next < committed.Offset:
		// The group's offset follows storage. It can only be ahead of a
		// storage that has gone back: an older copy.
		return 0, fmt.Errorf("%w: storage has processed %d records, the group has committed %d", ErrLogMismatch, next, committed.Offset)
	}
	return next, nil
}
