//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

// strangerBreakages is what strangers do in the topics and groups.
func strangerBreakages() []breakage {
	return []breakage{
		{name: "poison", before: poisonHeads, during: soon(quiet)},
		{name: "rebalance storm", during: storm},
		{name: "foreign transactions", during: soon(transact)},
	}
}

// poisonable are the topics whose records the services must understand.
func poisonable() []string {
	return []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
}

// poisons are values that no service can process, in turn. Keys and headers
// are those of a proper record.
func poisons(id, eventID string) [][]byte {
	proper := `{"eventId":"` + eventID + `","orderId":"` + id + `","userId":"poison"`
	return [][]byte{
		nil, {}, []byte("\x00\xff not JSON"), []byte(`{"eventId":`), []byte(`[]`), []byte(`{}`),
		[]byte(proper + `}`), // fields missing
		[]byte(proper + `,"amount":-5,"items":[],"status":"CREATED","createdAt":"2026-01-01T00:00:00Z"}`),
		[]byte(proper + `,"amount":1e999,"items":[],"status":"CREATED","createdAt":"2026-01-01T00:00:00Z"}`),
		[]byte(proper + `,"amount":"5","items":[],"status":"?","createdAt":"yesterday"}`),
		[]byte(`{"eventId":"` + eventID + `","orderId":"order-0"}`), // not the key's order
	}
}

// poisonHeads puts poison at the head of each partition, before any service
// has read from it.
func poisonHeads(ctx context.Context, r *round) error {
	return r.putPoison(ctx, poisonable(), len(poisons("", "")))
}

// clientConfig is sarama's default but for a registry of our own, which is
// the only one that stops.
func clientConfig() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.MetricRegistry = metrics.NewRegistry()
	cfg.Net.DialTimeout, cfg.Net.ReadTimeout = 30*time.Second, 30*time.Second
	return cfg
}

// putPoison adds n poison records to each partition of the topics.
func (r *round) putPoison(_ context.Context, topics []string, n int) error {
	cfg := clientConfig()
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	cfg.Producer.Retry.Max = 0 // the position must be known
	producer, err := sarama.NewSyncProducer(addresses(r.broker.Address()), cfg)
	if err != nil {
		return fmt.Errorf("connect poison: %w", err)
	}
	defer func() { _ = producer.Close() }()
	for _, topic := range topics {
		for partition := range int32(banking.Partitions) {
			for range n {
				if err := r.putOne(producer, topic, partition); err != nil {
					return fmt.Errorf("put poison on %s/%d: %w", topic, partition, err)
				}
			}
		}
	}
	return nil
}

func (r *round) putOne(producer sarama.SyncProducer, topic string, partition int32) error {
	serial := len(r.poison)
	id := fmt.Sprintf("order-%d", 900_000_000+serial)
	eventID := fmt.Sprintf("00000000-0000-4000-8000-%012d", serial)
	values := poisons(id, eventID)
	value := values[serial%len(values)]
	m := &sarama.ProducerMessage{
		Topic: topic, Partition: partition, Key: sarama.StringEncoder(id),
		Headers: []sarama.RecordHeader{
			{Key: []byte("eventId"), Value: []byte(eventID)}, {Key: []byte("eventType"), Value: []byte(typeOn(topic))},
		},
	}
	if value != nil {
		m.Value = sarama.ByteEncoder(value)
	}
	_, offset, err := producer.SendMessage(m)
	if err != nil {
		return err
	}
	at := record.At(topic, partition, offset)
	r.poison[at] = record.Record{Place: at, Key: []byte(id), Value: value}
	return nil
}

func typeOn(topic string) string {
	for _, t := range []string{banking.TypeOrderCreated, banking.TypePaymentAuthorized, banking.TypePaymentRejected} {
		if banking.TopicOf(t) == topic {
			return t
		}
	}
	return ""
}

const (
	stormTime = 10 * time.Second
	// maxIntrusion is the longest that an intruder keeps partitions.
	maxIntrusion = 1500 * time.Millisecond
)

// storm has a second member join each group and leave it again and again. It
// takes partitions and does nothing with them.
func storm(ctx context.Context, r *round) error {
	ctx, cancel := context.WithTimeout(ctx, stormTime)
	defer cancel()
	var group errgroup.Group
	for name, topics := range groups() {
		random := rand.New(rand.NewPCG(r.random.Uint64(), 0)) //nolint:gosec // repeatable on purpose
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := intrude(ctx, r.broker.Address(), name, topics, time.Duration(random.Int64N(int64(maxIntrusion)))); err != nil {
					return err
				}
				_ = lifecycle.Sleep(ctx, time.Duration(random.Int64N(int64(maxIntrusion))))
			}
			return nil
		})
	}
	return group.Wait()
}

// intrude joins a group, keeps its partitions for a time, and leaves.
func intrude(ctx context.Context, address, name string, topics []string, hold time.Duration) (err error) {
	cfg := clientConfig()
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	cfg.Consumer.Group.Session.Timeout = sessionTimeout
	cfg.Consumer.Group.Heartbeat.Interval = sessionTimeout / 6
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	group, err := sarama.NewConsumerGroup(addresses(address), name, cfg)
	if err != nil {
		return fmt.Errorf("join %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = group.Consume(ctx, topics, &intruder{hold: hold, leave: cancel})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep partitions of %s: %w", name, err)
	}
	return nil
}

// intruder keeps its partitions for a time and leaves.
type intruder struct {
	hold  time.Duration
	leave func()
}

// Setup implements sarama.ConsumerGroupHandler.
func (i *intruder) Setup(session sarama.ConsumerGroupSession) error {
	_ = lifecycle.Sleep(session.Context(), i.hold)
	i.leave()
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (*intruder) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (*intruder) ConsumeClaim(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-session.Context().Done()
	return nil
}

const (
	// transactions is how many a stranger makes, the last of which it leaves open.
	transactions = 7
	// maxOrders is the most that a transaction holds.
	maxOrders = 12
	// maxOpen is the longest that a transaction is open, but for the last: that
	// one the broker aborts after transactionTimeout.
	maxOpen            = 700 * time.Millisecond
	transactionTimeout = 5 * time.Second
)

// transact has a stranger put orders on the topic in transactions. Those of
// committed ones count like any; those of aborted ones were never there, and
// nobody may decide or show them.
func transact(ctx context.Context, r *round) (err error) {
	cfg := clientConfig()
	cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests = true, 1
	cfg.Producer.RequiredAcks, cfg.Producer.Return.Successes = sarama.WaitForAll, true
	cfg.Producer.Transaction.ID, cfg.Producer.Transaction.Timeout = "stranger", transactionTimeout
	producer, err := sarama.NewSyncProducer(addresses(r.broker.Address()), cfg)
	if err != nil {
		return fmt.Errorf("connect a stranger: %w", err)
	}
	defer func() {
		if producer != nil {
			err = errors.Join(err, producer.Close())
		}
	}()
	for n := range transactions {
		if err := producer.BeginTxn(); err != nil {
			return fmt.Errorf("begin transaction: %w", err)
		}
		orders := make([]banking.OrderCreated, 1+r.random.IntN(maxOrders))
		for i := range orders {
			orders[i] = r.foreignOrder(n, i)
			if err := sendOrder(producer, orders[i]); err != nil {
				return err
			}
		}
		end, committed := producer.CommitTxn, n%2 == 0
		if n == transactions-1 { // open, with nobody to end it
			end, committed = func() error { return nil }, false
		} else if !committed {
			end = producer.AbortTxn
		}
		r.expect(orders, committed)
		if err := r.pause(ctx, maxOpen); err != nil {
			return err
		}
		if err := end(); err != nil {
			return fmt.Errorf("end transaction: %w", err)
		}
	}
	// The broker ends what was left open, and others have to wait until it has.
	return lifecycle.Sleep(ctx, transactionTimeout)
}

// foreignOrder is an order that no client of commande's has placed.
func (r *round) foreignOrder(transaction, n int) banking.OrderCreated {
	id := fmt.Sprintf("stranger-%d-%d", transaction, n)
	return banking.OrderCreated{
		EventID: banking.NewEventID(), OrderID: id, UserID: id, Amount: banking.Money(1 + r.random.Int64N(maxCents)),
		Items: []string{"item"}, Status: banking.StatusCreated, CreatedAt: time.Now(),
	}
}

func sendOrder(producer sarama.SyncProducer, order banking.OrderCreated) error {
	m, err := delivery.Encode(order, "")
	if err != nil {
		return err
	}
	message := &sarama.ProducerMessage{Topic: m.Topic, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)}
	for _, h := range m.Headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	if _, _, err := producer.SendMessage(message); err != nil {
		return fmt.Errorf("send %s: %w", order.OrderID, err)
	}
	return nil
}

// expect notes what has to become of a transaction's orders: for the judge a
// committed one is as good as one that a client got an answer for.
func (r *round) expect(orders []banking.OrderCreated, committed bool) {
	for _, o := range orders {
		if !committed {
			r.never = append(r.never, o.OrderID)
			continue
		}
		r.foreign = append(r.foreign, reply{
			Request: o.UserID, Cents: int64(o.Amount), Status: http.StatusCreated, OrderID: o.OrderID, EventID: o.EventID, Sent: time.Now(),
		})
	}
}

// quiet is no fault: what the round suffers it has suffered before.
func quiet(context.Context, *round) error { return nil }
