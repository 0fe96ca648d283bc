package broker_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/embedded/broker"
)

const group = "test-svc"

// wire is a dialer that keeps its connection, for a client that dies without
// waiting for its answers.
type wire struct{ net.Conn }

// Dial implements proxy.Dialer.
func (w *wire) Dial(network, address string) (_ net.Conn, err error) {
	w.Conn, err = net.Dial(network, address)
	return w.Conn, err
}

// connect opens a connection of its own.
func connect(t *testing.T, b *broker.Broker) (*sarama.Broker, *wire) {
	t.Helper()
	cfg, w := sarama.NewConfig(), &wire{}
	cfg.Version = sarama.V2_3_0_0
	cfg.Net.ReadTimeout = patience
	cfg.Net.Proxy.Enable, cfg.Net.Proxy.Dialer = true, w
	c := sarama.NewBroker(b.Address())
	if err := c.Open(cfg); err != nil {
		t.Fatal(err)
	}
	if connected, err := c.Connected(); !connected { // Open does not wait
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, w
}

// request asks to join the group, with a member's id once it has one.
func request(t *testing.T, member string, session time.Duration) *sarama.JoinGroupRequest {
	t.Helper()
	r := &sarama.JoinGroupRequest{
		Version: 4, GroupId: group, MemberId: member, SessionTimeout: int32(session.Milliseconds()),
		RebalanceTimeout: int32(patience.Milliseconds()), ProtocolType: "consumer",
	}
	if err := r.AddGroupProtocolMetadata("range", &sarama.ConsumerGroupMemberMetadata{Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// member asks for the id of a new member, with which it then joins (KIP-394).
func member(t *testing.T, c *sarama.Broker, session time.Duration) string {
	t.Helper()
	answer, err := c.JoinGroup(request(t, "", session))
	if err != nil || !errors.Is(answer.Err, sarama.ErrMemberIdRequired) {
		t.Fatalf("join without an id: %+v, %v", answer, err)
	}
	return answer.MemberId
}

func join(t *testing.T, c *sarama.Broker, member string, session time.Duration) *sarama.JoinGroupResponse {
	t.Helper()
	answer, err := c.JoinGroup(request(t, member, session))
	if err != nil || answer.Err != sarama.ErrNoError {
		t.Fatalf("join as %s: %+v, %v", member, answer, err)
	}
	return answer
}

// A member whose process dies while it waits to join leaves the group when its
// session is over, as one does that dies later.
func TestAMemberThatDiesWhileItJoinsIsForgotten(t *testing.T) {
	const long, short = 2 * patience, 200 * time.Millisecond
	b := start(t, t.TempDir())
	defer func() { _ = b.Close() }()
	allowShortSessions(t, b)

	first, _ := connect(t, b)
	id := member(t, first, long)
	join(t, first, id, long)

	second, dies := connect(t, b)
	dying := member(t, second, long) // its session counts from when it joins
	ended := make(chan error, 1)
	go func() {
		_, err := second.JoinGroup(request(t, dying, short))
		ended <- err
	}()
	await(t, func() bool { return rebalancing(t, first) })
	_ = dies.Close() // while it waits for the first
	if err := <-ended; err == nil {
		t.Fatal("the second member was answered before the first had joined again")
	}

	// The second is among the members once the first has joined again. Its
	// session ends, and the first has to join once more.
	generation := join(t, first, id, long).GenerationId
	await(t, func() bool {
		heartbeat, err := first.Heartbeat(&sarama.HeartbeatRequest{GroupId: group, MemberId: id, GenerationId: generation})
		if err != nil {
			t.Fatal(err)
		}
		if heartbeat.Err != sarama.ErrNoError && !errors.Is(heartbeat.Err, sarama.ErrRebalanceInProgress) {
			t.Fatal(heartbeat.Err)
		}
		return errors.Is(heartbeat.Err, sarama.ErrRebalanceInProgress)
	})
}

// await checks until the condition is met.
func await(t *testing.T, yes func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("what is awaited does not come")
		}
	}
}

// rebalancing says whether the group waits for its members to join.
func rebalancing(t *testing.T, c *sarama.Broker) bool {
	t.Helper()
	answer, err := c.DescribeGroups(&sarama.DescribeGroupsRequest{Groups: []string{group}})
	if err != nil || len(answer.Groups) != 1 {
		t.Fatalf("describe: %+v, %v", answer, err)
	}
	return answer.Groups[0].State == "PreparingRebalance"
}

// allowShortSessions has the broker take sessions that a test can wait for.
func allowShortSessions(t *testing.T, b *broker.Broker) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin([]string{b.Address()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	least := "100"
	err = admin.IncrementalAlterConfig(sarama.BrokerResource, "", map[string]sarama.IncrementalAlterConfigsEntry{
		"group.min.session.timeout.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &least},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
}
