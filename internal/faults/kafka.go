package faults

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

// Broker is the embedded broker, as far as faults need it.
type Broker interface {
	// Refuse has requests of some kinds that name a group be refused until allow is
	// called.
	Refuse(group string, kinds ...kmsg.Key) (allow func())
}

// slowAnswers is how much later a slow Kafka answers.
const slowAnswers = time.Second

// OfBroker returns what can go wrong with a broker of ours, behind its gate.
func OfBroker(gate *Gate, broker Broker) []Fault {
	refuse := func(group string, kinds ...kmsg.Key) func(context.Context, func()) error {
		return func(ctx context.Context, inForce func()) error {
			allow := broker.Refuse(group, kinds...)
			defer allow()
			inForce()
			<-ctx.Done()
			return nil
		}
	}
	return []Fault{
		{
			Name: "kafka-away", Does: "Kafka breaks its connections and takes none, as a broker that died.",
			Alert: "KafkaDown", Within: time.Minute, Follows: []string{"OrdersAvailabilityBurn"}, Run: gate.hold(mode{away: true}),
		},
		{
			Name: "kafka-frozen", Does: "Kafka accepts connections and answers nothing.",
			Alert: "KafkaDown", Within: time.Minute, Follows: []string{"OrdersAvailabilityBurn"}, Run: gate.hold(mode{frozen: true}),
		},
		{
			Name: "kafka-slow", Does: "Kafka gives each of its answers a second later.",
			Alert: "ProduceSlow", Within: 3 * time.Minute, Follows: []string{"OrdersLatencyBurn", "OrdersAvailabilityBurn", "OrdersFreshnessBurn"},
			Run: gate.hold(mode{delay: slowAnswers}),
		},
		{
			Name: "consumer-gone", Does: "analyseur cannot be a member of its consumer group, and lives on without consuming.",
			Alert: "GroupAbandoned", Within: 2 * time.Minute,
			Run: refuse(banking.GroupAnalyseur, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat),
		},
		{
			Name: "lag-unknown", Does: "Nobody may ask what suivi's consumer group has committed.",
			Alert: "LagUnknown", Within: 4 * time.Minute, Follows: []string{"OrdersUnseen"}, Run: refuse(banking.GroupSuivi, kmsg.OffsetFetch),
		},
	}
}

// OfStrangers returns what strangers can do in the topics and groups of a cluster.
func OfStrangers(cluster kafka.Config) []Fault {
	cluster.ClientID = "vigie-fault"
	with := func(run func(context.Context, kafka.Config, func()) error) func(context.Context, func()) error {
		return func(ctx context.Context, inForce func()) error { return run(ctx, cluster, inForce) }
	}
	return []Fault{
		{
			Name: "poison", Does: "Twice a second somebody writes a record to " + banking.TopicOrdersCreated + " that is no order.",
			Alert: "DeadLettersWaiting", Within: time.Minute, Run: with(poison),
			Leaves: "the dead letters, until `vigie dlq purge --reason malformed`",
		},
		{
			Name: "hot-partition", Does: "Somebody writes to one partition alone of the topic " + hotTopic + ", which is there for this.",
			Alert: "HotPartition", Within: 6 * time.Minute, Run: with(heat),
		},
		{
			Name: "transaction-open", Does: "Somebody leaves a transaction open on a partition of " + banking.TopicOrdersCreated + ".",
			Alert: "TransactionStuck", Within: 2 * time.Minute, Follows: []string{"OrdersNotDecided", "OrdersFreshnessBurn"}, Run: with(openTransaction),
		},
		{
			Name: "stranger-in-group", Does: "A foreign member joins analyseur's consumer group and does nothing with its partitions.",
			Alert: "ConsumerPartitionsUnread", Within: 3 * time.Minute, Follows: []string{"ConsumerStalled"}, Run: with(intrude),
		},
		{
			Name: "offsets-rewound", Does: "An operator sets the consumer group " + rewoundGroup + ", which is there for this, back to the start of " + banking.TopicPaymentsAuthorized + ".",
			Alert: "OffsetsRewound", Within: 2 * time.Minute, Run: with(rewind),
		},
	}
}

// answerTime bounds each request of a fault's client.
const answerTime = 5 * time.Second

// connect makes a client of the cluster.
func connect(cluster kafka.Config, options ...kgo.Opt) (*kgo.Client, error) {
	common, err := cluster.FranzOptions(answerTime)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(common, options...)...)
}

// writeInterval is how far apart a fault's writes are.
const writeInterval = 500 * time.Millisecond

// poison writes what is no order among the orders.
func poison(ctx context.Context, cluster kafka.Config, inForce func()) error {
	client, err := connect(cluster)
	if err != nil {
		return err
	}
	defer client.Close()
	return keepWriting(ctx, client, inForce, func() []*kgo.Record {
		return []*kgo.Record{{
			Topic: banking.TopicOrdersCreated, Key: []byte("poison-" + rand.Text()), Value: []byte("this is no order"),
			Headers: []kgo.RecordHeader{
				{Key: record.HeaderEventID, Value: []byte(banking.NewEventID())}, {Key: record.HeaderEventType, Value: []byte(banking.TypeOrderCreated)},
			},
		}}
	})
}

// keepWriting writes records to one topic in intervals, until ctx ends. Once it has begun, what
// fails is for the next time.
func keepWriting(ctx context.Context, client *kgo.Client, inForce func(), next func() []*kgo.Record) error {
	for begun := false; ctx.Err() == nil; begun = true {
		records := next()
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil && !begun && ctx.Err() == nil {
			return fmt.Errorf("write to %s: %w", records[0].Topic, err)
		}
		if ctx.Err() == nil {
			inForce()
			_ = lifecycle.Sleep(ctx, writeInterval) // the loop looks whether it is over
		}
	}
	return nil
}

const (
	// hotTopic is a topic of the fault's own: what is written to the bank's would be
	// orders, or dead letters.
	hotTopic = "vigie-fault-hot"
	// hot records are written at once: fifty a second.
	hot = 25
)

// heat writes to one partition alone of a topic of its own, as who has one key for all.
func heat(ctx context.Context, cluster kafka.Config, inForce func()) error {
	client, err := kafka.Connect(ctx, cluster)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	admin, err := sarama.NewClusterAdminFromClient(client.Client) // not closed: it would close the client
	if err != nil {
		return fmt.Errorf("make %s: %w", hotTopic, err)
	}
	err = admin.CreateTopic(hotTopic, &sarama.TopicDetail{NumPartitions: banking.Partitions, ReplicationFactor: -1}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("make %s: %w", hotTopic, err)
	}
	defer func() { _ = admin.DeleteTopic(hotTopic) }()
	producer, err := connect(cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	return keepWriting(ctx, producer, inForce, func() (records []*kgo.Record) {
		for range hot {
			records = append(records, &kgo.Record{Topic: hotTopic, Value: []byte("hot")})
		}
		return records
	})
}

// longestTransaction is how long Kafka lets a transaction be open by default.
const longestTransaction = 15 * time.Minute

// openTransaction leaves a transaction open.
func openTransaction(ctx context.Context, cluster kafka.Config, inForce func()) error {
	client, err := connect(cluster, kgo.TransactionalID("vigie-fault-"+rand.Text()), kgo.TransactionTimeout(longestTransaction),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err = client.ProduceSync(ctx, &kgo.Record{Topic: banking.TopicOrdersCreated, Value: []byte("never committed")}).FirstErr(); err == nil {
		inForce()
		<-ctx.Done()
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	return errors.Join(err, client.EndTransaction(ending, kgo.TryAbort))
}

// intrude joins a group and keeps the partitions that it is given. Its client reads
// ahead, and nobody takes what it has read.
func intrude(ctx context.Context, cluster kafka.Config, inForce func()) error {
	assigned := make(chan struct{})
	var once sync.Once
	client, err := connect(cluster, kgo.ConsumerGroup(banking.GroupAnalyseur), kgo.ConsumeTopics(banking.ReadBy(banking.GroupAnalyseur)...),
		kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(), kgo.FetchMaxBytes(1<<16),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { once.Do(func() { close(assigned) }) }))
	if err != nil {
		return err
	}
	defer client.Close()
	select {
	case <-assigned:
	case <-ctx.Done():
		return nil
	}
	inForce()
	<-ctx.Done()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	return client.LeaveGroupContext(leaving)
}

const (
	// rewoundGroup is a group of the fault's own: Kafka lets nobody set back a group
	// that has members.
	rewoundGroup = "vigie-fault-rewound"
	// commits is how far apart its commits are, and steps how many of them it is far
	// ahead before it is set back, and needs to be there again.
	commits = 2 * time.Second
	steps   = 20
)

// rewind has a group of its own read to the end of a topic and be set back to its
// start, again and again.
func rewind(ctx context.Context, cluster kafka.Config, inForce func()) error {
	client, err := kafka.Connect(ctx, cluster)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	defer func() { _ = kafka.DeleteGroups(client.Client, rewoundGroup) }() // nobody watches it for long: it has no member
	for turn := 0; ; turn++ {
		share := min(turn%(2*steps), steps) // to the end, where it stays for a while
		err := advance(ctx, client, share)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && turn == 0:
			return err
		}
		inForce()
		if lifecycle.Sleep(ctx, commits) != nil {
			return nil
		}
	}
}

// advance commits for the group, as one that is no member of it, as if it had read a share of
// the topic, in steps.
func advance(ctx context.Context, client *kafka.Client, share int) error {
	const topic = banking.TopicPaymentsAuthorized
	spans, err := kafka.Bounds(ctx, client, topic)
	if err != nil {
		return err
	}
	offsets := map[int32]sarama.OffsetAndMetadata{}
	for _, s := range spans {
		offsets[s.ID] = sarama.OffsetAndMetadata{Offset: s.Start + (s.End-s.Start)*int64(share)/steps, LeaderEpoch: -1}
	}
	return kafka.MoveGroup(client, rewoundGroup, map[string]map[int32]sarama.OffsetAndMetadata{topic: offsets})
}

const (
	floodClients  = 16
	floodInterval = 5 * time.Millisecond // 200 orders a second
	floodAnswer   = 10 * time.Second
)

// Flood returns the fault that many orders come at once, to commande at a URL.
func Flood(commande string) Fault {
	return Fault{
		Name: "flood", Does: "Two hundred more orders a second are placed, which the bank has to bear.",
		Run: func(ctx context.Context, inForce func()) error {
			transport := &http.Transport{MaxIdleConnsPerHost: floodClients}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: floodAnswer}
			due := make(chan struct{})
			var clients sync.WaitGroup
			defer clients.Wait()
			defer close(due)
			for range floodClients {
				clients.Go(func() {
					for range due {
						placeOne(ctx, client, commande)
					}
				})
			}
			inForce()
			return lifecycle.Every(ctx, floodInterval, func(context.Context) error {
				select {
				case due <- struct{}{}:
				default: // all wait for answers
				}
				return nil
			})
		},
	}
}

// placeOne places an order, whatever becomes of it.
func placeOne(ctx context.Context, client *http.Client, commande string) {
	body := strings.NewReader(`{"userId":"flood","amount":12.50,"items":["flood"]}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, commande+"/orders", body)
	if err != nil {
		return
	}
	request.Header.Set("Content-Type", "application/json")
	if answer, err := client.Do(request); err == nil {
		_ = answer.Body.Close()
	}
}
