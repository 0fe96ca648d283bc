//go:build unix

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

// clusterNodes is how many it takes to go on without one of them.
const clusterNodes = 3

// Cluster is a Kafka of three nodes, each broker and controller at once. Every
// topic is on all three, and a record is acknowledged once two have it: the
// cluster goes on without any one of them, and not without two.
type Cluster struct {
	nodes []*Broker
}

// NewCluster starts a cluster with empty logs in a folder; [Cluster.Kill] or
// [Cluster.Stop] ends it. It takes about 400 MB of memory a node.
func NewCluster(ctx context.Context, folder string) (*Cluster, error) {
	java, err := install(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := proc.FreeAddresses(2 * clusterNodes)
	if err != nil {
		return nil, err
	}
	nodes := make([]node, clusterNodes)
	var voters []string
	for i := range nodes {
		nodes[i] = node{id: i + 1, clients: addresses[2*i], quorum: addresses[2*i+1], nodes: clusterNodes}
		voters = append(voters, strconv.Itoa(i+1)+"@"+nodes[i].quorum)
	}
	c, id := &Cluster{}, clusterID()
	for _, n := range nodes {
		n.voters = strings.Join(voters, ",")
		b := &Broker{java: java, folder: filepath.Join(folder, strconv.Itoa(n.id))}
		if err := os.MkdirAll(b.folder, 0o750); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
		if err := b.prepareAs(ctx, n, id); err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, b)
	}
	return c, c.Restart(ctx)
}

// Nodes are the cluster's brokers.
func (c *Cluster) Nodes() []*Broker { return c.nodes }

// Address is where clients connect: host:port of every node, with commas.
func (c *Cluster) Address() string {
	all := make([]string, len(c.nodes))
	for i, b := range c.nodes {
		all[i] = b.address
	}
	return strings.Join(all, ",")
}

// Restart starts the nodes that do not run, and returns when all belong to the
// cluster.
func (c *Cluster) Restart(ctx context.Context) error {
	group, starting := errgroup.WithContext(ctx)
	for _, b := range c.nodes {
		if b.process == nil || !b.process.Running() {
			group.Go(func() error { return b.join(starting) })
		}
	}
	if err := group.Wait(); err != nil {
		c.Kill()
		return err
	}
	return c.complete(ctx)
}

// join starts a node, with the archive of classes where a broker has made one:
// a node cannot make it, which would have to start alone.
func (b *Broker) join(ctx context.Context) error {
	if classes, ok := proc.Cached(b.java.Name + ".jsa"); ok {
		return b.run(ctx, "-XX:SharedArchiveFile="+classes)
	}
	return b.run(ctx)
}

// complete waits until every node is among the brokers: a topic that is created
// before has too few replicas.
func (c *Cluster) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := c.count()
		if err == nil || lifecycle.Sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// count returns an error while nodes are missing among the brokers.
func (c *Cluster) count() error {
	cfg := sarama.NewConfig()
	cfg.MetricRegistry = metrics.NewRegistry() // the default one never stops
	client, err := sarama.NewClient(strings.Split(c.Address(), ","), cfg)
	if err != nil {
		return fmt.Errorf("count the cluster's brokers: %w", err)
	}
	n := len(client.Brokers())
	if err := client.Close(); err != nil || n < clusterNodes {
		return cmp.Or(err, fmt.Errorf("the cluster has %d brokers of %d", n, clusterNodes))
	}
	return nil
}

// Kill ends all nodes as kill -9 does.
func (c *Cluster) Kill() {
	for _, b := range c.nodes {
		b.Kill()
	}
}

// Stop ends the nodes one after the other as their operator would, but for the
// last: without the others it would wait for a controller to let it go.
func (c *Cluster) Stop() error {
	last := len(c.nodes) - 1
	for _, b := range c.nodes[:last] {
		if err := b.Stop(); err != nil {
			return err
		}
	}
	c.nodes[last].Kill()
	return nil
}

// Processes are those of the nodes.
func (c *Cluster) Processes() []*proc.Process {
	all := make([]*proc.Process, len(c.nodes))
	for i, b := range c.nodes {
		all[i] = b.process
	}
	return all
}

// LogTail is the end of each node's log.
func (c *Cluster) LogTail() string {
	var all []string
	for i, b := range c.nodes {
		all = append(all, fmt.Sprintf("node %d:\n%s", i+1, b.LogTail()))
	}
	return strings.Join(all, "\n")
}

// LeadAnew has another node lead each partition of the topics: the one that
// comes after the leader among the replicas.
func (c *Cluster) LeadAnew(admin sarama.ClusterAdmin, topics []string) error {
	described, err := admin.DescribeTopics(topics)
	if err != nil {
		return fmt.Errorf("find leaders: %w", err)
	}
	wanted := map[string][]int32{}
	for _, topic := range described {
		assignment := make([][]int32, len(topic.Partitions))
		for _, p := range topic.Partitions {
			assignment[p.ID] = after(p.Replicas, p.Leader)
			wanted[topic.Name] = append(wanted[topic.Name], p.ID)
		}
		if err := admin.AlterPartitionReassignments(topic.Name, assignment); err != nil {
			return fmt.Errorf("reorder replicas of %s: %w", topic.Name, err)
		}
	}
	results, err := admin.ElectLeaders(sarama.PreferredElection, wanted)
	if err != nil {
		return fmt.Errorf("elect leaders: %w", err)
	}
	for topic, partitions := range results {
		for id, result := range partitions {
			if result.ErrorCode != sarama.ErrNoError && result.ErrorCode != sarama.ErrElectionNotNeeded {
				err = errors.Join(err, fmt.Errorf("elect the leader of %s/%d: %w", topic, id, result.ErrorCode))
			}
		}
	}
	return err
}

// after turns the replicas so that the one after the leader comes first.
func after(replicas []int32, leader int32) []int32 {
	for i, id := range replicas {
		if id == leader {
			next := (i + 1) % len(replicas)
			return append(append([]int32{}, replicas[next:]...), replicas[:next]...)
		}
	}
	return replicas
}
