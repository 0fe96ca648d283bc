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

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

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
			Alert: "ConsumerFallingBehind", Within: 5 * time.Minute, Follows: []string{"OrdersNotDecided", "OrdersFreshnessBurn", "OrdersUnseen", "ConsumerStalled"},
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

const poisonInterval = 500 * time.Millisecond

// poison writes what is no order among the orders.
func poison(ctx context.Context, cluster kafka.Config, inForce func()) error {
	client, err := connect(cluster)
	if err != nil {
		return err
	}
	defer client.Close()
	for begun := false; ; {
		bad := &kgo.Record{
			Topic: banking.TopicOrdersCreated, Key: []byte("poison-" + rand.Text()), Value: []byte("this is no order"),
			Headers: []kgo.RecordHeader{
				{Key: record.HeaderEventID, Value: []byte(banking.NewEventID())}, {Key: record.HeaderEventType, Value: []byte(banking.TypeOrderCreated)},
			},
		}
		switch err := client.ProduceSync(ctx, bad).FirstErr(); {
		case ctx.Err() != nil:
			return nil
		case err != nil && !begun:
			return fmt.Errorf("write to %s: %w", bad.Topic, err)
		}
		inForce()
		begun = true
		if lifecycle.Sleep(ctx, poisonInterval) != nil {
			return nil
		}
	}
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
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.OffsetCommit.Int16(), 9) // later ones name topics by their ids
	client, err := connect(cluster, kgo.MaxVersions(versions))
	if err != nil {
		return err
	}
	defer client.Close()
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		forget := kmsg.NewPtrDeleteGroupsRequest()
		forget.Groups = []string{rewoundGroup}
		_, _ = forget.RequestWith(ending, client) // nobody watches it for long: it has no member
	}()
	for turn := 0; ; turn++ {
		ends, err := ends(ctx, client, banking.TopicPaymentsAuthorized)
		if err == nil {
			share := min(turn%(2*steps), steps) // to the end, where it stays for a while
			for partition := range ends {
				ends[partition] = ends[partition] * int64(share) / steps
			}
			err = commit(ctx, client, banking.TopicPaymentsAuthorized, ends)
		}
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

// ends asks where a topic's partitions end.
func ends(ctx context.Context, client *kgo.Client, topic string) (map[int32]int64, error) {
	ask := kmsg.NewPtrListOffsetsRequest()
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	for id := range int32(banking.Partitions) {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = id, -1 // the end
		asked.Partitions = append(asked.Partitions, partition)
	}
	ask.Topics = append(ask.Topics, asked)
	all := map[int32]int64{}
	for _, shard := range client.RequestSharded(ctx, ask) { // each leader is asked for its own
		if shard.Err != nil {
			return nil, fmt.Errorf("ask where %s ends: %w", topic, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics { //nolint:forcetypeassert // as was asked
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("ask where %s ends: %w", topic, err)
				}
				all[p.Partition] = p.Offset
			}
		}
	}
	return all, nil
}

// commit commits for the group, as one that is no member of it.
func commit(ctx context.Context, client *kgo.Client, topic string, offsets map[int32]int64) error {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group = rewoundGroup
	committed := kmsg.NewOffsetCommitRequestTopic()
	committed.Topic = topic
	for id, offset := range offsets {
		partition := kmsg.NewOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = id, offset
		committed.Partitions = append(committed.Partitions, partition)
	}
	r.Topics = append(r.Topics, committed)
	answer, err := r.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("commit for %s: %w", rewoundGroup, err)
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit for %s: %w", rewoundGroup, err)
			}
		}
	}
	return nil
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
			ticker := time.NewTicker(floodInterval)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-ticker.C:
					select {
					case due <- struct{}{}:
					default: // all wait for answers
					}
				}
			}
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
