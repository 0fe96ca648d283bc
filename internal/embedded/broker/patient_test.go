package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"

	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
)

const (
	session = 600 * time.Millisecond
	group   = "test-svc"
)

// connect opens a connection whose requests give up after a time.
func connect(t *testing.T, b *embedded.Broker, patience time.Duration) *sarama.Broker {
	t.Helper()
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_3_0_0
	cfg.Net.ReadTimeout = patience
	c := sarama.NewBroker(b.Address())
	if err := c.Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// join joins the group as a new member, which takes two requests (KIP-394).
func join(t *testing.T, c *sarama.Broker) (*sarama.JoinGroupResponse, error) {
	t.Helper()
	request := &sarama.JoinGroupRequest{
		Version: 4, GroupId: group, SessionTimeout: int32(session.Milliseconds()), RebalanceTimeout: 60_000, ProtocolType: "consumer",
	}
	if err := request.AddGroupProtocolMetadata("range", &sarama.ConsumerGroupMemberMetadata{Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	first, err := c.JoinGroup(request)
	if err != nil || !errors.Is(first.Err, sarama.ErrMemberIdRequired) {
		t.Fatalf("join without an id: %+v, %v", first, err)
	}
	request.MemberId = first.MemberId
	return c.JoinGroup(request)
}

// A member whose process dies while it waits to join leaves the group when its
// session is over, as one does that dies later.
func TestAMemberThatDiesWhileItJoinsIsForgotten(t *testing.T) {
	b := start(t, t.TempDir())
	defer func() { _ = b.Close() }()
	shortSessions(t, b)

	first := connect(t, b, 10*time.Second)
	joined, err := join(t, first)
	if err != nil || joined.Err != sarama.ErrNoError {
		t.Fatalf("first member: %+v, %v", joined, err)
	}
	if err := first.Close(); err != nil { // it dies; its session is not over
		t.Fatal(err)
	}
	second := connect(t, b, session/4)
	if answer, err := join(t, second); err == nil {
		t.Fatalf("the second member was answered before the first's session was over: %+v", answer)
	}
	_ = second.Close() // it dies while it waits for the first

	third := connect(t, b, 10*time.Second)
	joined, err = join(t, third)
	if err != nil || joined.Err != sarama.ErrNoError {
		t.Fatalf("third member: %+v, %v", joined, err)
	}
	// The second is among the members now. Its session ends too, and the
	// third is told to join again.
	deadline := time.Now().Add(20 * session)
	for {
		heartbeat, err := third.Heartbeat(&sarama.HeartbeatRequest{GroupId: group, MemberId: joined.MemberId, GenerationId: joined.GenerationId})
		if err != nil {
			t.Fatal(err)
		}
		if errors.Is(heartbeat.Err, sarama.ErrRebalanceInProgress) {
			return
		}
		if heartbeat.Err != sarama.ErrNoError {
			t.Fatal(heartbeat.Err)
		}
		if time.Now().After(deadline) {
			t.Fatal("a member that died while it joined stays in the group")
		}
	}
}

// shortSessions has the broker take sessions that a test can wait for.
func shortSessions(t *testing.T, b *embedded.Broker) {
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
