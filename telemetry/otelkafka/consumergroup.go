package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// ConsumerGroup is a member of a consumer group, as sarama has it, with its lag, its rebalances and what sarama measures
// on the page. [ConsumerGroup.Consume] takes any handler:
//
//   - one of [NewHandler] or [NewBatchHandler], whose records get spans, times and counts;
//   - one of your own. A loop over [Instrumentation.Records] gives its records the same.
//
// Lag begins with the offset that a claim begins with, and follows what the handler marks, in whichever goroutine, so that
// it is right for eager and cooperative rebalances, batches, and partitions that are paused. A record that is marked before
// it is processed is no lag, nor is one behind it: mark what is done. Its metrics have the label group, so that several
// groups of one process stay apart.
//
// All methods are safe for concurrent use.
type ConsumerGroup struct {
	sarama.ConsumerGroup
	rebalances *Rebalances
	positions  *positions
	committed  func(took time.Duration)
	closers    closers

	mu      sync.Mutex
	session sarama.ConsumerGroupSession // nil between sessions
}

// NewConsumerGroup is [sarama.NewConsumerGroup] for [ConsumerGroup]. i is the group's own: its [Options.ConsumerGroup] is
// groupID. config nil stands for sarama's default; it is not changed. Lag needs a client of its own, since a consumer's
// connections wait for records; it asks the brokers once in [DefaultLagInterval].
//
// It fails if i is nil or another group's, and where sarama's does. Close the group to end what it has started.
func NewConsumerGroup(addrs []string, groupID string, config *sarama.Config, i *Instrumentation) (*ConsumerGroup, error) {
	if err := checkGroup(groupID, i); err != nil {
		return nil, err
	}
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		return nil, fmt.Errorf("make a member of consumer group %s: %w", groupID, err)
	}
	return newConsumerGroup(groupID, client, i, client.Close)
}

// NewConsumerGroupFromClient is [NewConsumerGroup] by a client that is there, stays the caller's to close, and serves
// nothing else meanwhile.
func NewConsumerGroupFromClient(groupID string, client sarama.Client, i *Instrumentation) (*ConsumerGroup, error) {
	if err := checkGroup(groupID, i); err != nil {
		return nil, err
	}
	if isNil(client) {
		return nil, fmt.Errorf("make a member of consumer group %s: the client is nil", groupID)
	}
	return newConsumerGroup(groupID, client, i)
}

func checkGroup(groupID string, i *Instrumentation) error {
	switch {
	case i == nil:
		return fmt.Errorf("make a member of consumer group %s: the instrumentation is nil", groupID)
	case i.options.ConsumerGroup != groupID:
		return fmt.Errorf("make a member of consumer group %s: the instrumentation's ConsumerGroup is %q; make one for each group",
			groupID, i.options.ConsumerGroup)
	default:
		return nil
	}
}

// newConsumerGroup takes over the closers, also where it fails.
func newConsumerGroup(
	groupID string, client sarama.Client, i *Instrumentation, closers ...func() error,
) (_ *ConsumerGroup, err error) {
	g := &ConsumerGroup{}
	g.closers.add(closers...)
	defer func() {
		if err != nil {
			err = fmt.Errorf("make a member of consumer group %s: %w", groupID, errors.Join(err, g.closers.close()))
		}
	}()
	if g.rebalances, err = NewRebalances(i); err != nil {
		return nil, err
	}
	g.closers.add(g.rebalances.Close)
	if g.committed, err = g.rebalances.timeCommits(); err != nil {
		return nil, err
	}
	if g.positions, err = i.followLag(groupID, client, &g.closers); err != nil {
		return nil, err
	}
	watched := watchedClient{Client: client, config: g.watchedConfig(client.Config())}
	if g.ConsumerGroup, err = sarama.NewConsumerGroupFromClient(groupID, watched); err != nil {
		return nil, err
	}
	unobserve := i.observeClient(client.Config(), "consumer")
	g.closers.add(func() error { unobserve(); return nil }, g.ConsumerGroup.Close)
	return g, nil
}

// timeCommits returns what records a commit's time for the group.
func (r *Rebalances) timeCommits() (func(took time.Duration), error) {
	commits, err := r.inst.instruments.Float64Histogram(catalogue.KafkaConsumerCommitDuration)
	if err != nil {
		return nil, err
	}
	return func(took time.Duration) { commits.Record(context.Background(), took.Seconds(), r.group...) }, nil
}

// closers are what ends what was started, in the order in which that was.
type closers struct {
	all  []func() error
	once sync.Once
}

func (c *closers) add(more ...func() error) { c.all = append(c.all, more...) }

// close calls them, the last first and each once.
func (c *closers) close() (err error) {
	c.once.Do(func() {
		for _, closer := range slices.Backward(c.all) {
			err = errors.Join(err, closer())
		}
	})
	return err
}

// followLag starts the polls of the logs' ends, by a client of its own.
func (i *Instrumentation) followLag(groupID string, client sarama.Client, closers *closers) (*positions, error) {
	config := *client.Config()
	config.MetricRegistry = metrics.NewRegistry() // else the consumer's figures would be of two clients
	var addrs []string
	for _, broker := range client.Brokers() {
		addrs = append(addrs, broker.Addr())
	}
	own, err := sarama.NewClient(addrs, &config)
	if err != nil {
		return nil, fmt.Errorf("make a client for its lag: %w", err)
	}
	closers.add(own.Close)
	lag, err := NewLag(i, own, DefaultLagInterval)
	if err != nil {
		return nil, err
	}
	lag.group = groupID
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { lag.Run(ctx) })
	closers.add(lag.Close, func() error { stop(); running.Wait(); return nil })
	return &positions{lag: lag, parts: make(map[TopicPartition]*position)}, nil
}

// watchedConfig returns a copy whose strategies tell of rebalances.
func (g *ConsumerGroup) watchedConfig(config *sarama.Config) *sarama.Config {
	watched := *config
	group := &watched.Consumer.Group.Rebalance
	group.GroupStrategies = slices.Clone(group.GroupStrategies)
	for n, strategy := range group.GroupStrategies {
		group.GroupStrategies[n] = g.rebalances.Strategy(strategy)
	}
	return &watched
}

// watchedClient is a client with another configuration.
type watchedClient struct {
	sarama.Client
	config *sarama.Config
}

// Config implements [sarama.Client].
func (c watchedClient) Config() *sarama.Config { return c.config }

// Consume implements [sarama.ConsumerGroup]. The sessions that the handler is given see what it marks. A handler that is nil
// is an error.
func (g *ConsumerGroup) Consume(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	if handler == nil {
		return errors.New("consume: the handler is nil")
	}
	return g.ConsumerGroup.Consume(ctx, topics, memberHandler{handler, g})
}

// CaughtUp reports whether the member has a session, and has processed each of its partitions up to the end that the log had
// when the partition was assigned: what a check of readiness wants to know.
func (g *ConsumerGroup) CaughtUp() bool {
	g.mu.Lock()
	session := g.session
	g.mu.Unlock()
	if session == nil {
		return false
	}
	claimed := 0
	for _, partitions := range session.Claims() {
		claimed += len(partitions)
	}
	return g.positions.lag.Assigned() >= claimed && g.positions.lag.CaughtUp()
}

// Close implements [sarama.ConsumerGroup]. When it has returned, the polls of the lag have ended, and no series of this
// member is on the page.
func (g *ConsumerGroup) Close() error { return g.closers.close() }

// memberHandler is the user's handler with everything around it seen.
type memberHandler struct {
	handler sarama.ConsumerGroupHandler
	group   *ConsumerGroup
}

// Setup implements [sarama.ConsumerGroupHandler].
func (h memberHandler) Setup(session sarama.ConsumerGroupSession) error {
	_ = h.group.rebalances.Setup(session) // has no error
	h.group.setSession(session)
	return h.handler.Setup(h.tracked(session))
}

// Cleanup implements [sarama.ConsumerGroupHandler].
func (h memberHandler) Cleanup(session sarama.ConsumerGroupSession) error {
	_ = h.group.rebalances.Cleanup(session) // has no error
	h.group.setSession(nil)
	return h.handler.Cleanup(h.tracked(session))
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler]. It sees a partition's beginning and end with every strategy.
func (h memberHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	tracked := h.tracked(session)
	tracked.topic, tracked.partition = claim.Topic(), claim.Partition()
	tracked.claimed = h.group.positions.begin(tracked.topic, tracked.partition, claim.InitialOffset())
	defer h.group.positions.end(tracked.topic, tracked.partition)
	return h.handler.ConsumeClaim(tracked, claim)
}

func (h memberHandler) tracked(session sarama.ConsumerGroupSession) *trackedSession {
	return &trackedSession{ConsumerGroupSession: session, positions: h.group.positions, committed: h.group.committed}
}

func (g *ConsumerGroup) setSession(session sarama.ConsumerGroupSession) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.session = session
}

// trackedSession sees what the handler marks.
type trackedSession struct {
	sarama.ConsumerGroupSession
	positions *positions
	committed func(took time.Duration)

	// The partition whose claim the session was given with, which is the one that it marks, mostly; nil without a claim.
	topic     string
	partition int32
	claimed   *position
}

func (s *trackedSession) position(topic string, partition int32) *position {
	if s.claimed != nil && partition == s.partition && topic == s.topic {
		return s.claimed
	}
	return s.positions.of(topic, partition)
}

// take notes the first record in hand.
func (s *trackedSession) take(msg *sarama.ConsumerMessage) {
	s.position(msg.Topic, msg.Partition).take(msg)
}

// Commit implements [sarama.ConsumerGroupSession].
func (s *trackedSession) Commit() {
	start := time.Now()
	s.ConsumerGroupSession.Commit()
	s.committed(time.Since(start))
}

// MarkMessage implements [sarama.ConsumerGroupSession].
func (s *trackedSession) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.ConsumerGroupSession.MarkMessage(msg, metadata)
	s.position(msg.Topic, msg.Partition).mark(msg.Offset + 1)
}

// MarkOffset implements [sarama.ConsumerGroupSession].
func (s *trackedSession) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	s.ConsumerGroupSession.MarkOffset(topic, partition, offset, metadata)
	s.position(topic, partition).mark(offset)
}

// ResetOffset implements [sarama.ConsumerGroupSession].
func (s *trackedSession) ResetOffset(topic string, partition int32, offset int64, metadata string) {
	s.ConsumerGroupSession.ResetOffset(topic, partition, offset, metadata)
	s.position(topic, partition).reset(offset)
}

// positions are how far a member's partitions are processed, as far as its marks say.
type positions struct {
	lag *Lag

	mu    sync.Mutex
	parts map[TopicPartition]*position
}

func (p *positions) begin(topic string, partition int32, initial int64) *position {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun := &position{next: initial}
	p.parts[TopicPartition{topic, partition}] = begun
	p.lag.assign(topic, partition, initial, begun)
	return begun
}

func (p *positions) end(topic string, partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.parts, TopicPartition{topic, partition})
	p.lag.Revoke(topic, partition)
}

// of returns a partition's position, nil for one that is not the member's.
func (p *positions) of(topic string, partition int32) *position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts[TopicPartition{topic, partition}]
}

// position is one partition's: all offsets below next are marked. As to sarama, marks only go up, but for a reset. Its lock is
// its own, so that claims do not wait for one another: the lag asks for it where the lag is looked at. The methods of nil, which
// is nobody's partition, do nothing.
type position struct {
	mu     sync.Mutex
	next   int64
	moved  bool // since the lag has asked
	inHand bool // a record from next on is: the first since the last mark
	first  int64
	sent   time.Time // when that record was
}

func (p *position) mark(next int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if next > p.next {
		p.move(next)
	}
}

func (p *position) reset(next int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if next < p.next {
		p.move(next)
	}
}

// move sets what is marked. The caller has locked.
func (p *position) move(next int64) { p.next, p.inHand, p.moved = next, false, true }

// take has the lag's age be that of the record in hand. What lies before the first record since a mark is none: its
// offsets are markers, or were compacted away.
func (p *position) take(msg *sarama.ConsumerMessage) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.inHand && msg.Offset >= p.next {
		p.inHand, p.first, p.sent, p.moved = true, msg.Offset, msg.Timestamp, true
	}
}

// now returns what [Lag.Advance] is to be told, and whether that is news.
func (p *position) now() (next int64, nextRecordTime time.Time, moved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved, p.moved = p.moved, false
	if p.inHand {
		return p.first, p.sent, moved
	}
	return p.next, time.Time{}, moved
}
