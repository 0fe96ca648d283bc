//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

const (
	// sessionTimeout is the shortest that brokers allow as they come.
	sessionTimeout = 6 * time.Second
	// frozen is long enough for the group to have given the partitions away.
	frozen = sessionTimeout + 2*time.Second
	// stepPatience bounds the wait for a service to come to its step.
	stepPatience = 2 * time.Minute
	maxKills     = 2
	maxAfter     = 1500 * time.Millisecond // from load, or a restart, to a kill
	maxDown      = 300 * time.Millisecond
)

// breakage is one thing that goes wrong in a round.
type breakage struct {
	name string
	// step kills the service at a named step of its own, the nth time.
	service string
	step    fault.Step
	// smallDisk puts the data folder on a file system that can be filled.
	smallDisk bool
	// before, if any, runs when the topics are there and no service is.
	before func(ctx context.Context, r *round) error
	// during runs under load. It leaves everything running again.
	during func(ctx context.Context, r *round) error
}

// breakages lists all that a round can suffer.
func breakages() []breakage {
	all := []breakage{
		{name: "kill all services", during: killServices},
		{name: "kill broker", during: soon(killBroker)},
		{name: "kill broker and services", during: soon(killEverything)},
		{name: "freeze broker", during: soon(freezeBroker)},
		{name: "broker away", during: soon(brokerAway)},
		{name: "disk full", smallDisk: true, during: soon(fillDisk)},
		{name: "poison", before: poisonHeads, during: soon(quiet)},
		{name: "rebalance storm", during: storm},
	}
	for _, service := range testsystem.Services() {
		all = append(all,
			breakage{name: "kill " + service, service: service, during: killService},
			breakage{name: "freeze " + service, service: service, during: soon(freezeService)})
		for _, step := range stepsOf(service) {
			all = append(all, breakage{
				name: service + " dies " + string(step), service: service, step: step, during: dieAtStep,
			})
		}
	}
	return all
}

// databaseBreakages is what a round with a database server can suffer besides.
func databaseBreakages() []breakage {
	return []breakage{
		{name: "kill database", during: killDatabase},
		{name: "freeze database", during: soon(freezeDatabase)},
		{name: "database away", during: soon(databaseAway)},
		{name: "kill database and services", during: soon(killDatabaseAndServices)},
	}
}

// stepsOf returns the named steps that a service comes to.
func stepsOf(service string) []fault.Step {
	order := []fault.Step{fault.BeforeOrder, fault.AfterOrder}
	if service == testsystem.Commande {
		return order
	}
	return slices.DeleteFunc(fault.Steps(), func(s fault.Step) bool { return slices.Contains(order, s) })
}

// publishes says whether a service comes to a step only with messages to
// publish. suivi and analyseur have none but dead letters.
func publishes(service string, step fault.Step) bool {
	return (step == fault.AfterPublish || step == fault.AfterMark) && service != testsystem.Paiement
}

// pause waits for a time of the round's own choice.
func (r *round) pause(ctx context.Context, most time.Duration) error {
	return lifecycle.Sleep(ctx, time.Duration(r.random.Int64N(int64(most))))
}

// soon has something go wrong after a time of the round's own choice.
func soon(work func(context.Context, *round) error) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		return work(ctx, r)
	}
}

// repeatedly kills and restarts once or twice: the next kill may hit
// what the restart is about to recover.
func repeatedly(ctx context.Context, r *round, kill func(), restart func(context.Context) error) error {
	for range 1 + r.random.IntN(maxKills) {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		kill()
		if err := r.pause(ctx, maxDown); err != nil {
			return err
		}
		if err := restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// instance is one of those of the service that suffers.
func (r *round) instance() *testsystem.Service {
	all := r.system.Instances(r.breakage.service)
	return all[r.random.IntN(len(all))]
}

func killService(ctx context.Context, r *round) error {
	s := r.instance()
	return repeatedly(ctx, r, s.Kill, func(ctx context.Context) error { return s.Start(ctx) })
}

func killServices(ctx context.Context, r *round) error {
	return repeatedly(ctx, r, r.system.Kill, r.system.Start)
}

func killBroker(ctx context.Context, r *round) error {
	r.broker.Kill()
	if err := r.pause(ctx, maxDown); err != nil {
		return err
	}
	return r.broker.Restart(ctx)
}

// killEverything is a power cut as far as processes can have one.
func killEverything(ctx context.Context, r *round) error {
	var both sync.WaitGroup
	both.Go(r.system.Kill)
	both.Go(r.broker.Kill)
	both.Wait()
	if err := r.broker.Restart(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}

func brokerAway(ctx context.Context, r *round) error {
	return away(ctx, r, r.broker.Kill, r.broker.Stop, r.broker.Restart)
}

// away kills or stops something, and starts it again after a while.
func away(ctx context.Context, r *round, kill func(), stop func() error, restart func(context.Context) error) error {
	if r.random.IntN(2) == 0 {
		kill()
	} else if err := stop(); err != nil {
		return err
	}
	if err := lifecycle.Sleep(ctx, r.cfg.Away); err != nil {
		return err
	}
	return restart(ctx)
}

// freezeService makes a zombie: its partitions are given away while it stands
// still with a batch in progress, and it wakes up in the middle of it.
func freezeService(ctx context.Context, r *round) error {
	return freeze(ctx, r.instance().Process(), frozen)
}

// freezeBroker leaves connections open that do not answer, as freezeDatabase does.
func freezeBroker(ctx context.Context, r *round) error {
	return freeze(ctx, r.broker.Process(), 2*ackTimeout)
}

func freeze(ctx context.Context, p interface {
	Freeze() error
	Thaw() error
}, d time.Duration) error {
	if err := p.Freeze(); err != nil {
		return err
	}
	return errors.Join(lifecycle.Sleep(ctx, d), p.Thaw())
}

// dieAtStep waits for the service to die where its environment says, and
// starts it without.
func dieAtStep(ctx context.Context, r *round) error {
	s := r.system.Service(r.breakage.service)
	patience, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	ticker := time.NewTicker(stepPoll)
	defer ticker.Stop()
	for sprinkle := publishes(r.breakage.service, r.breakage.step); ; {
		if sprinkle {
			if err := r.putPoison(patience, poisonable(), 1); err != nil {
				return err
			}
		}
		select {
		case <-s.Process().Done():
			if status := s.Process().Status(); status != -1 {
				return fmt.Errorf("%s ended with %d instead of dying %s", s.Name, status, r.breakage.step)
			}
			return s.Start(ctx)
		case <-ticker.C:
		case <-patience.Done():
			return fmt.Errorf("%s did not come to %s: %w", s.Name, r.breakage.step, patience.Err())
		}
	}
}

// stepPoll is the time between two poison records on the way to a step.
const stepPoll = 200 * time.Millisecond

// quiet is no fault: what the round suffers it has suffered before.
func quiet(context.Context, *round) error { return nil }

func killDatabase(ctx context.Context, r *round) error {
	return repeatedly(ctx, r, r.database.Kill, r.database.Restart)
}

func databaseAway(ctx context.Context, r *round) error {
	stop := func() error { r.database.Stop(); return nil }
	return away(ctx, r, r.database.Kill, stop, r.database.Restart)
}

func freezeDatabase(ctx context.Context, r *round) error { return freeze(ctx, r.database, frozen) }

func killDatabaseAndServices(ctx context.Context, r *round) error {
	r.system.Kill()
	r.database.Kill()
	if err := r.database.Restart(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
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
	producer, err := sarama.NewSyncProducer([]string{r.broker.Address()}, cfg)
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
	group, err := sarama.NewConsumerGroup([]string{address}, name, cfg)
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

// diskFull is how long the data folder is full.
const diskFull = 4 * time.Second

// fillDisk takes all space in the data folder, for a time.
func fillDisk(ctx context.Context, r *round) error {
	path := filepath.Join(r.data, "ballast")
	full, cancel := context.WithTimeout(ctx, diskFull)
	defer cancel()
	for full.Err() == nil { // again, should anything have been given back
		if err := fill(path); err != nil {
			return err
		}
		_ = lifecycle.Sleep(full, 20*time.Millisecond)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	return nil
}

// fill appends to a file until there is no space for a byte.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // our own
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 16
		case err != nil:
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return nil
}
