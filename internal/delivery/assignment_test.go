package delivery

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// cluster starts a broker with all topics.
func cluster(t *testing.T) (kafka.Config, sarama.Client) {
	t.Helper()
	b, err := embedded.Start(t.Context(), embedded.Config{Address: "127.0.0.1:0", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	cfg := kafka.Config{Brokers: []string{b.Address()}, ClientID: "test"}
	client, err := kafka.Connect(t.Context(), cfg, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := kafka.EnsureTopics(client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	return cfg, client
}

const patience = 10 * time.Second

// Where a partition goes on: at storage's position, which has to lie within
// the log.
func TestAPartitionGoesOnWhereStorageStands(t *testing.T) {
	cfg, client := cluster(t)
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
			l := &Loop[int, string]{deps: Deps{Control: client, Store: store}}
			got, err := l.start(t.Context(), p, &sarama.OffsetFetchResponseBlock{Offset: max(tt.committed, -1)})
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

// What was acknowledged is in the log, what could not be is an error that says
// so, and closing leaves no goroutine.
func TestPublisher(t *testing.T) {
	cfg, client := cluster(t)
	p, err := kafka.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var batch []*sarama.ProducerMessage
	for i := range 50 {
		batch = append(batch, kafka.Outgoing(record.Message{Topic: source, Key: fmt.Append(nil, i), Value: []byte("v")}))
	}
	if err := p.PublishAll(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var total int64
	for id := range int32(banking.Partitions) {
		end, err := client.GetOffset(source, id, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		total += end
	}
	if total != 50 {
		t.Errorf("%d records in the log, want 50", total)
	}
	huge := kafka.Outgoing(record.Message{Topic: source, Value: make([]byte, kafka.MaxRecordBytes+1)})
	if err := p.Publish(t.Context(), huge); !errors.Is(err, kafka.ErrUnacknowledged) {
		t.Errorf("publishing too large a record: %v, want kafka.ErrUnacknowledged", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// The largest record that a topic takes still fits among the dead letters with
// everything that is added to it.
func TestTheLargestRecordFitsAmongTheDeadLetters(t *testing.T) {
	cfg, _ := cluster(t)
	p, err := kafka.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	l := &Loop[int, string]{cfg: LoopConfig{Group: group, DeadLetters: banking.DeadLetterTopic}}
	for name, r := range map[string]record.Record{
		"value":   {Value: make([]byte, kafka.MaxRecordBytes-200)},
		"headers": {Headers: []record.Header{{Key: "h", Value: make([]byte, kafka.MaxRecordBytes-200)}}},
	} {
		r.Topic, r.Key = source, []byte("k")
		if err := p.Publish(t.Context(), kafka.Outgoing(record.Message{Topic: source, Key: r.Key, Value: r.Value, Headers: r.Headers})); err != nil {
			t.Fatalf("large %s: the source topic refuses it: %v", name, err)
		}
		letters := l.setAside(r, Reject(ReasonOversized, errors.New("too large")), ClassReject.consequences())
		if len(letters) != 1 {
			t.Fatalf("large %s: %d letters", name, len(letters))
		}
		if err := p.Publish(t.Context(), kafka.Outgoing(letters[0])); err != nil {
			t.Errorf("large %s: its dead letter is refused: %v", name, err)
		}
		if _, _, err := record.ParseOrigin(record.Record{Headers: letters[0].Headers}); err != nil {
			t.Errorf("large %s: the dead letter cannot be read: %v", name, err)
		}
	}
}
