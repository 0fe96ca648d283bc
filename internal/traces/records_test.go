package traces

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// cluster is a broker with all topics.
type cluster struct {
	source    Cluster
	publisher *kafka.Publisher
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	b, err := embedded.Start(t.Context(), embedded.Config{Address: "127.0.0.1:0", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	c := &cluster{source: Cluster{Kafka: kafka.Config{Brokers: []string{b.Address()}, ClientID: "test", Patience: time.Minute}}}
	if c.source.Client, err = kafka.Connect(t.Context(), c.source.Kafka); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.source.Client.Close() })
	if _, err := kafka.EnsureTopics(t.Context(), c.source.Client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	if c.publisher, err = kafka.NewPublisher(t.Context(), c.source.Kafka); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.publisher.Close() })
	return c
}

// put publishes a record under a key, and returns where it stands.
func (c *cluster) put(t *testing.T, key string, r record.Record) (partition int32, offset int64) {
	t.Helper()
	m := &sarama.ProducerMessage{Topic: r.Topic, Key: sarama.StringEncoder(key), Timestamp: r.Time}
	if r.Value != nil {
		m.Value = sarama.ByteEncoder(r.Value)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	if err := c.publisher.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return m.Partition, m.Offset
}

// kinds are the facts that a window gives, and how many offsets were read.
func (c *cluster) kinds(t *testing.T, w Window) (kinds string, read int64) {
	t.Helper()
	var done, total int64
	source := c.source
	source.Progress = func(d, of int64) {
		if d <= done || d > of {
			t.Errorf("progress %d of %d after %d", d, of, done)
		}
		done, total = d, of
	}
	facts, err := source.Facts(t.Context(), "order-1", w)
	if err != nil {
		t.Fatal(err)
	}
	if done != total {
		t.Errorf("progress ends at %d of %d", done, total)
	}
	var all []string
	for _, f := range facts {
		all = append(all, f.Kind)
	}
	return strings.Join(all, " "), done
}

// A window has only its time read; dead letters, and what was done with them,
// widen it.
func TestAWindowIsRead(t *testing.T) {
	c := newCluster(t)
	same := "order-1" // of the same partition
	other := sameSlot(t, "order-1")
	for i := range 20 { // what the others do before
		c.put(t, other, created(0, -time.Hour+time.Duration(i)))
	}
	partition, offset := c.put(t, same, created(0, 0))
	c.put(t, same, decided(0, 30*time.Millisecond))
	for i := range 30 { // and after
		c.put(t, other, created(0, time.Hour+time.Duration(i)))
	}
	began := created(0, 0).Time
	window := Window{From: began, Until: began.Add(30 * time.Millisecond)}
	if kinds, read := c.kinds(t, window); kinds != "OrderCreated PaymentAuthorized" || read != 2 {
		t.Errorf("the window has %s in %d records", kinds, read)
	}
	if kinds, read := c.kinds(t, Window{}); kinds != "OrderCreated PaymentAuthorized" || read != 52 {
		t.Errorf("the log has %s in %d records", kinds, read)
	}
	if kinds, _ := c.kinds(t, Window{From: began.Add(time.Hour)}); kinds != "" {
		t.Errorf("an hour later there is %s", kinds)
	}

	r := letter(0, time.Second, banking.GroupPaiement, banking.TopicOrdersCreated, fmt.Sprint(offset))
	r.Headers[2].Value = fmt.Append(nil, partition)
	_, letterAt := c.put(t, same, r)
	c.put(t, same, created(0, 2*time.Hour))
	c.put(t, same, marker(0, 2*time.Hour, "replayed", fmt.Sprintf("orders.dlq/%d/%d", partition, letterAt)))
	if kinds, read := c.kinds(t, window); kinds != "OrderCreated PaymentAuthorized SetAside OrderCreated Replayed" || read != 35 {
		t.Errorf("after a replay the window has %s in %d records", kinds, read)
	}
}

// sameSlot is another key whose records stand beside those of this one.
func sameSlot(t *testing.T, key string) string {
	t.Helper()
	slot := func(key string) int32 {
		m := &sarama.ProducerMessage{Key: sarama.StringEncoder(key)}
		id, err := sarama.NewHashPartitioner(banking.TopicOrdersCreated).Partition(m, banking.Partitions)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for i := 2; ; i++ {
		if other := fmt.Sprintf("order-%d", i); slot(other) == slot(key) {
			return other
		}
	}
}

// What one key has is bounded, and reading ends with its context.
func TestReadingIsBounded(t *testing.T) {
	c := newCluster(t)
	var batch []*sarama.ProducerMessage
	for range MaxFacts + 10 {
		batch = append(batch, &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder("order-1")})
	}
	if err := c.publisher.PublishAll(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	facts, err := c.source.Facts(t.Context(), "order-1", Window{})
	if err != nil || len(facts) != MaxFacts {
		t.Errorf("%d facts, %v", len(facts), err)
	}
	if !slices.IsSortedFunc(facts, func(a, b Fact) int { return a.Time.Compare(b.Time) }) {
		t.Error("the facts are not in the order of their times")
	}
	ctx, cancel := context.WithCancel(t.Context())
	source := c.source
	source.Progress = func(int64, int64) { cancel() }
	if _, err := source.Facts(ctx, "order-1", Window{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a reading that is stopped: %v", err)
	}
}
