//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// groundBreakages is what happens to the topics.
func groundBreakages() []breakage {
	return []breakage{
		{name: "partitions added", during: soon(addPartitions)},
		{name: "records deleted", during: deleteRecords},
		{name: "topics recreated", during: soon(recreateTopics)},
	}
}

// clusterBreakages is what a cluster of several nodes can suffer.
func clusterBreakages() []breakage {
	return []breakage{
		{name: "kill a node", during: soon(killNode)},
		{name: "freeze a node", during: soon(freezeNode)},
		{name: "two nodes gone", during: soon(loseNodes)},
		{name: "leaders move", during: moveLeaders},
	}
}

// administer runs work with what administers the broker.
func (r *round) administer(work func(sarama.ClusterAdmin) error) (err error) {
	admin, err := sarama.NewClusterAdmin(addresses(r.broker.Address()), clientConfig())
	if err != nil {
		return fmt.Errorf("connect an administrator: %w", err)
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	return work(admin)
}

// eventTopics are those with orders and decisions.
func eventTopics() []string {
	return []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
}

// maxAdded is the most partitions that a topic gets.
const maxAdded = 3

// addPartitions gives topics more partitions, and has commande write to them at
// once, which learns of them when it starts. Who reads has to learn of them by
// itself, and soon.
func addPartitions(ctx context.Context, r *round) error {
	err := r.administer(func(admin sarama.ClusterAdmin) error {
		for i, topic := range eventTopics() {
			if i > 0 && r.random.IntN(2) == 0 {
				continue
			}
			count := banking.Partitions + 1 + r.random.Int32N(maxAdded)
			if err := admin.CreatePartitions(topic, count, nil, false); err != nil {
				return fmt.Errorf("add partitions to %s: %w", topic, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.startAnew(ctx, testsystem.Commande); err != nil {
		return err
	}
	return r.awaitAdded(ctx)
}

// startAnew kills a service and starts it.
func (r *round) startAnew(ctx context.Context, name string) error {
	for _, s := range r.system.Instances(name) {
		s.Kill()
	}
	return r.system.Start(ctx)
}

// awaitAdded waits until there are orders in every partition.
func (r *round) awaitAdded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for {
		spans, err := bounds(ctx, r.broker.Address(), banking.TopicOrdersCreated)
		empty := slices.ContainsFunc(spans, func(s kafka.Span) bool { return s.End == 0 })
		if err == nil && !empty {
			return nil
		}
		if lifecycle.Sleep(ctx, restPoll) != nil {
			return errors.Join(fmt.Errorf("no order comes into one of %v", spans), err)
		}
	}
}

// deletions is how often records are deleted.
const deletions = 3

// deleteRecords deletes, again and again, records that every reader has
// processed. Of what they said the judge knows, as it has read them before; and
// a service that is started afterwards has to go on where it was.
func deleteRecords(ctx context.Context, r *round) error {
	for range deletions {
		if err := r.taken(ctx, underWay); err != nil {
			return err
		}
		for _, topic := range eventTopics() {
			if err := r.deleteFrom(ctx, topic); err != nil {
				return fmt.Errorf("delete records of %s: %w", topic, err)
			}
		}
		names := testsystem.Services()
		if err := r.startAnew(ctx, names[r.random.IntN(len(names))]); err != nil {
			return err
		}
	}
	return nil
}

// deleteFrom deletes a part of a topic's processed records.
func (r *round) deleteFrom(ctx context.Context, topic string) error {
	spans, err := bounds(ctx, r.broker.Address(), topic)
	if err != nil {
		return err
	}
	if err := r.administer(func(admin sarama.ClusterAdmin) error { return untilProcessed(admin, spans) }); err != nil {
		return err
	}
	ends := map[int32]int64{}
	for i, s := range spans {
		if s.End > s.Start {
			spans[i].End = s.Start + 1 + r.random.Int64N(s.End-s.Start)
			ends[s.ID] = spans[i].End
		}
	}
	spans = slices.DeleteFunc(spans, func(s kafka.Span) bool { return s.End <= s.Start })
	gone, err := scan(ctx, r.broker.Address(), spans)
	if err != nil || len(ends) == 0 {
		return err
	}
	r.deleted = append(r.deleted, gone[topic]...)
	return r.administer(func(admin sarama.ClusterAdmin) error { return admin.DeleteRecords(topic, ends) })
}

// untilProcessed has each span end where the slowest of its readers is.
func untilProcessed(admin sarama.ClusterAdmin, spans []kafka.Span) error {
	for i, s := range spans {
		for _, group := range readersOf(s.Topic) {
			response, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{s.Topic: {s.ID}})
			if err != nil {
				return fmt.Errorf("offsets of %s: %w", group, err)
			}
			committed := int64(-1)
			if block := response.GetBlock(s.Topic, s.ID); block != nil {
				committed = block.Offset
			}
			spans[i].End = min(spans[i].End, max(committed, s.Start))
		}
	}
	return nil
}

// recreateTopics deletes all topics under the running services and makes new
// ones of the same names. Each service has to notice, and to stop or to say that
// it is not ready: it must not go on in topics that are not those it knows. Its
// operator then resets what the services have stored, and all goes on with the
// new topics. What was acknowledged before is gone with the old ones.
func recreateTopics(ctx context.Context, r *round) error {
	err := r.administer(func(admin sarama.ClusterAdmin) error {
		topics := topicNames()
		r.random.Shuffle(len(topics), func(i, j int) { topics[i], topics[j] = topics[j], topics[i] })
		for _, topic := range topics {
			if err := admin.DeleteTopic(topic); err != nil {
				return fmt.Errorf("delete %s: %w", topic, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.awaitGone(ctx, topicNames()); err != nil {
		return err
	}
	if err := makeTopics(ctx, r.broker.Address()); err != nil {
		return err
	}
	r.since = time.Now()
	for _, name := range testsystem.Services() { // who looks on is ready whatever becomes of them
		for _, s := range r.system.Instances(name) {
			if err := awaitRefusal(ctx, s); err != nil {
				return err
			}
		}
	}
	r.system.Kill()
	if err := r.resetStopped(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}

// awaitGone waits until topics are deleted, which a broker does in its own time.
func (r *round) awaitGone(ctx context.Context, topics []string) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for {
		err := r.administer(func(admin sarama.ClusterAdmin) error {
			all, err := admin.ListTopics()
			for _, name := range topics {
				if _, there := all[name]; err == nil && there {
					err = fmt.Errorf("%s is still there", name)
				}
			}
			return err
		})
		if err == nil || lifecycle.Sleep(ctx, restPoll) != nil {
			return err
		}
	}
}

// awaitRefusal waits until a service has ended or says that it is not ready,
// because of a topic.
func awaitRefusal(ctx context.Context, s *testsystem.Service) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	client := &http.Client{Timeout: clientPatience, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		status, said, err := readiness(ctx, client, s.URL)
		names := slices.ContainsFunc(topicNames(), func(topic string) bool { return strings.Contains(said, topic) })
		if !s.Running() || status == http.StatusServiceUnavailable && names {
			return nil
		}
		if lifecycle.Sleep(ctx, restPoll) != nil {
			return errors.Join(fmt.Errorf("%s goes on in topics that are not those it knows: it says %d, %q", s.Name, status, said), err)
		}
	}
}

func readiness(ctx context.Context, client *http.Client, url string) (status int, said string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health/ready", nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, string(body), err
}

// nodes are those of the round's cluster, in an order of the round's choice.
func (r *round) nodes() ([]*testkafka.Broker, error) {
	cluster, ok := r.broker.(*testkafka.Cluster)
	if !ok {
		return nil, fmt.Errorf("%T has no nodes", r.broker)
	}
	all := slices.Clone(cluster.Nodes())
	r.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, nil
}

// killNode kills one node: orders are taken without it, and it comes back.
func killNode(ctx context.Context, r *round) error {
	nodes, err := r.nodes()
	if err != nil {
		return err
	}
	nodes[0].Kill()
	if err := r.goesOn(ctx); err != nil {
		return fmt.Errorf("without one node: %w", err)
	}
	return r.broker.Restart(ctx)
}

// goesOn waits until more orders are acknowledged, while a node is missing.
func (r *round) goesOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	return r.load.await(ctx, r.load.acknowledged()+underWay)
}

// freezeNode leaves a node with its connections and without a word: the others
// have to go on without it, and it wakes up as a leader of yesterday.
func freezeNode(ctx context.Context, r *round) error {
	nodes, err := r.nodes()
	if err != nil {
		return err
	}
	if err := nodes[0].Process().Freeze(); err != nil {
		return err
	}
	err = errors.Join(r.goesOn(ctx), lifecycle.Sleep(ctx, frozen))
	if thawed := nodes[0].Process().Thaw(); err == nil {
		err = thawed
	}
	if err != nil {
		return fmt.Errorf("with one node frozen: %w", err)
	}
	return nil
}

// loseNodes kills two of three: nothing can be acknowledged until one is back.
func loseNodes(ctx context.Context, r *round) error {
	nodes, err := r.nodes()
	if err != nil {
		return err
	}
	kill := func() {
		for _, b := range nodes[:len(nodes)/2+1] {
			b.Kill()
		}
	}
	return away(ctx, r, kill, func() error { kill(); return nil }, r.broker.Restart)
}

// moves is how often all partitions get another leader.
const moves = 5

// moveLeaders has other nodes lead, again and again.
func moveLeaders(ctx context.Context, r *round) error {
	cluster, ok := r.broker.(*testkafka.Cluster)
	if !ok {
		return fmt.Errorf("%T has no nodes", r.broker)
	}
	return r.administer(func(admin sarama.ClusterAdmin) error {
		for range moves {
			if err := r.pause(ctx, maxAfter); err != nil {
				return err
			}
			if err := cluster.LeadAnew(admin, append(topicNames(), "__consumer_offsets")); err != nil {
				return err
			}
		}
		return nil
	})
}

// whole joins what was deleted to what is left of the topics.
func whole(left map[string][]record.Record, deleted []record.Record) (all map[string][]record.Record, gone map[record.Place]bool) {
	all, gone = maps.Clone(left), map[record.Place]bool{}
	for _, r := range deleted {
		all[r.Topic], gone[r.Place] = append(all[r.Topic], r), true
	}
	return all, gone
}
