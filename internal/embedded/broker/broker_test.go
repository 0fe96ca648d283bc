package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// patience only bounds a wait for what does not come.
const patience = 2 * time.Minute

func start(t *testing.T, folder string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(t.Context(), broker.Config{Address: "127.0.0.1:0", Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIdentitiesAndRecordsSurviveARestart(t *testing.T) {
	folder := t.TempDir()
	var first map[string]string
	for round := range 2 {
		b := start(t, folder)
		cfg := kafka.Config{Brokers: []string{b.Address()}, Patience: patience}
		client, err := kafka.Connect(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		created, err := kafka.EnsureTopics(t.Context(), client, banking.Topics())
		if err != nil {
			t.Fatal(err)
		}
		ids, err := kafka.Identities(t.Context(), client, []string{banking.TopicOrdersCreated})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			first = ids
			if len(created) != len(banking.Topics()) {
				t.Errorf("created %v, want all topics", created)
			}
			publish(t, cfg)
		} else {
			if len(created) != 0 {
				t.Errorf("after the restart created %v again", created)
			}
			for name, id := range first {
				if ids[name] != id || id == "" {
					t.Errorf("%s = %q after the restart, was %q", name, ids[name], id)
				}
			}
			if n := records(t, client, banking.TopicOrdersCreated); n != 1 {
				t.Errorf("%d records after the restart, want 1", n)
			}
		}
		if err := errors.Join(client.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}

func publish(t *testing.T, cfg kafka.Config) {
	t.Helper()
	p, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder("order-1")}
	if err := errors.Join(p.Publish(t.Context(), m), p.Close()); err != nil {
		t.Fatal(err)
	}
}

// records counts what is in the log of a topic.
func records(t *testing.T, client sarama.Client, topic string) (n int64) {
	t.Helper()
	for p := range int32(banking.Partitions) {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		n += end
	}
	return n
}

func TestAFolderHasOneBroker(t *testing.T) {
	folder := t.TempDir()
	b := start(t, folder)
	defer func() { _ = b.Close() }()
	_, err := broker.Start(t.Context(), broker.Config{Address: "127.0.0.1:0", Folder: folder})
	if !errors.Is(err, storage.ErrInUse) {
		t.Errorf("second broker on the folder: %v, want ErrInUse", err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	b := start(t, t.TempDir())
	defer func() { _ = b.Close() }()
	_, err := broker.Start(t.Context(), broker.Config{Address: b.Address(), Folder: t.TempDir()})
	if !errors.Is(err, broker.ErrAddress) {
		t.Errorf("broker on a taken port: %v, want ErrAddress", err)
	}
}
