package delivery

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// Where a partition goes on: at storage's position, which has to lie within
// the log.
func TestAPartitionGoesOnWhereStorageStands(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	end := fill(t, cfg, 10)
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteRecords(source, map[int32]int64{0: 4}); err != nil { // the log is now [4, end)
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		stored    int64 // -1: nothing
		committed int64 // 0: nothing
		stranger  bool  // has committed it
		want      int64
		err       error
	}{
		"new here":               {stored: -1, want: 4},
		"at the log's start":     {stored: 4, want: 4},
		"in the middle":          {stored: 7, want: 7},
		"at the end":             {stored: end, want: end},
		"deleted unprocessed":    {stored: 3, err: ErrLogMismatch},
		"beyond the log's end":   {stored: end + 1, err: ErrLogMismatch},
		"started at zero, later": {stored: 0, err: ErrLogMismatch},
		"Kafka follows":          {stored: 7, committed: 6, want: 7},
		"Kafka is as far":        {stored: 7, committed: 7, want: 7},
		"an older copy":          {stored: 7, committed: 8, err: ErrLogMismatch},
		"a stranger is ahead":    {stored: 7, committed: 8, stranger: true, want: 7},
		"a stranger is behind":   {stored: 7, committed: 5, stranger: true, want: 7},
		"storage was cleared":    {stored: -1, committed: 8, want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := storage.Open(t.Context(), "sqlite:"+t.TempDir(), "test", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = store.Close() }()
			p := record.Partition{Topic: source, ID: 0}
			if tt.stored >= 0 {
				if err := store.StartAt(t.Context(), p, tt.stored); err != nil {
					t.Fatal(err)
				}
			}
			l := &Loop[int, string]{deps: Deps{Control: client, Store: store, Log: slog.New(slog.DiscardHandler)}}
			commit := &sarama.OffsetFetchResponseBlock{Offset: max(tt.committed, -1)}
			if !tt.stranger {
				commit.Metadata = kafka.NewIdentity(client, nil, nil).Stamp()
			}
			got, err := l.start(t.Context(), p, commit)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("start = %d, %v; want %d, %v", got, err, tt.want, tt.err)
			}
			if stored, known, _ := store.Position(t.Context(), p); err == nil && (!known || stored != got) {
				t.Errorf("stored position %d, %v", stored, known)
			}
		})
	}
}

// fill puts n records on partition 0 and returns the log's end.
func fill(t *testing.T, cfg kafka.Config, n int64) int64 {
	t.Helper()
	sc := sarama.NewConfig()
	sc.Producer.Return.Successes = true
	sc.Producer.Partitioner = sarama.NewManualPartitioner
	p, err := sarama.NewSyncProducer(cfg.Brokers, sc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: source, Value: sarama.StringEncoder(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
