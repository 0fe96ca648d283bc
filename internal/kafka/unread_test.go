package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// reader takes what it is given and does nothing with it.
type reader struct{}

func (reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (reader) ConsumeClaim(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-s.Context().Done()
	return nil
}

// member joins a group until the function that it returns is called.
func member(t *testing.T, cfg kafka.Config, clientID string) (leave func()) {
	t.Helper()
	sc := sarama.NewConfig()
	sc.ClientID = clientID
	sc.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	group, err := sarama.NewConsumerGroup(cfg.Brokers, "clerk-svc", sc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = group.Consume(ctx, []string{banking.TopicOrdersCreated}, reader{}) // a rebalance, or the end
		}
	}()
	return func() {
		cancel()
		<-done
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Partitions that a stranger in the group was given, and those that were added
// and no member has noticed, are read by nobody of ours.
func TestUnreadPartitions(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	becomes := func(when, want string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			unread, settled, err := kafka.Unread(client, "clerk-svc", []string{banking.TopicOrdersCreated})
			if got := fmt.Sprint(unread, settled); err == nil && got == want {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: %s, %v; want %s", when, got, err, want)
			}
			<-time.After(10 * time.Millisecond) // between two looks
		}
	}
	becomes("without members", "[] false")
	leave := member(t, cfg, "test")
	becomes("alone", "[] true")
	stranger := member(t, cfg, "stranger")
	deadline := time.Now().Add(time.Minute)
	for unread, settled, _ := kafka.Unread(client, "clerk-svc", []string{banking.TopicOrdersCreated}); !settled || len(unread) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the stranger's partitions are not seen")
		}
		<-time.After(10 * time.Millisecond) // between two looks
		unread, settled, _ = kafka.Unread(client, "clerk-svc", []string{banking.TopicOrdersCreated})
	}
	stranger()
	becomes("alone again", "[] true")
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CreatePartitions(banking.TopicOrdersCreated, 5, nil, false); err != nil {
		t.Fatal(err)
	}
	becomes("with more partitions", "[orders.created/3 orders.created/4] true")
	leave()
}

// Whatever the settings are, the intervals by which a consumer's group learns of
// added partitions leave most of half a minute for the rebalance itself.
func TestAddedPartitionsAreNoticedSoon(t *testing.T) {
	cfg, _ := testkafka.Embedded(t)
	for _, session := range []time.Duration{0, 6 * time.Second, 30 * time.Minute} {
		cfg.SessionTimeout = session
		client, err := cfg.ConnectConsumer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sc := client.Config()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		// The client asks the brokers, the leader compares, the members hear of it:
		// each on a timer of its own.
		if late := 2*sc.Metadata.RefreshFrequency + sc.Consumer.Group.Heartbeat.Interval; late > 15*time.Second {
			t.Errorf("with sessions of %v a group learns of partitions after %v", session, late)
		}
	}
}

// A group that nobody has ever been in, or that was deleted, has committed nothing.
func TestAGroupThatIsNotThereHasCommittedNothing(t *testing.T) {
	_, client := testkafka.Embedded(t)
	if committed, err := kafka.Committed(client, "nobody", banking.TopicOrdersCreated); err != nil || len(committed) > 0 {
		t.Errorf("committed: %v, %v", committed, err)
	}
}
