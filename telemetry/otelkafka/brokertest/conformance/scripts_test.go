//go:build integration

package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// records is how many each script sends or reads; tooLarge is how many of those sent fail.
const (
	records  = 30
	tooLarge = 2
)

// script is one use of a side, and what must come of it.
type script struct {
	name string
	run  func(t *testing.T, s *stage, side side)
	must outcome
}

func scripts() []script {
	sent := outcome{Spans: records, Failed: tooLarge, Joined: records - tooLarge, Covered: "-", Metadata: records, Counted: records}
	told := sent
	told.Spans, told.Counted = records+tooLarge, tooLarge
	unread := sent
	unread.Failed, unread.Joined = 0, records
	read := outcome{Spans: records, Joined: records, Covered: "yes", Counted: records}
	left := outcome{Spans: 3, Failed: 3, Joined: 3, Covered: "yes", Counted: 3}
	failing := read
	failing.Failed, failing.Counted = 1, records+1
	failing.Spans, failing.Joined = records+1, records+1
	return []script{
		{"send, one by one; two are too large", sendEach, sent},
		{"send a batch; two are too large", sendTogether, sent},
		{"send asynchronously; two are too large", sendAsync(true, nil), sent},
		{"the same, an interceptor sets Metadata", sendAsync(true, relabel{}), sent},
		{"the same, sarama's default: successes are not told", sendAsync(false, nil), told},
		{"close with results unread", closeUnread, unread},
		{"read in a group, one by one", readAll, read},
		{"read in a group; one record fails once", readWithFailure, failing},
		{"read in a group; each claim is left after a record", leaveEarly, left},
	}
}

// payload is a value that fits, or not.
func payload(n int) sarama.Encoder {
	if n < tooLarge {
		return sarama.ByteEncoder(make([]byte, 2000))
	}
	return sarama.StringEncoder("v")
}

func message(n int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: "out", Value: payload(n), Metadata: n}
}

func (s *stage) syncProducer(t *testing.T, side side) sarama.SyncProducer {
	t.Helper()
	config := s.config()
	p, err := sarama.NewSyncProducer(s.cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	return side.sync(p, config)
}

func sendEach(t *testing.T, s *stage, side side) {
	t.Helper()
	p := s.syncProducer(t, side)
	for n := range records {
		_, _, _ = p.SendMessage(message(n))
	}
	s.kept()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func sendTogether(t *testing.T, s *stage, side side) {
	t.Helper()
	p := s.syncProducer(t, side)
	var all []*sarama.ProducerMessage
	for n := range records {
		all = append(all, message(n))
	}
	_ = p.SendMessages(all)
	s.kept()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// relabel is an interceptor that uses Metadata for itself.
type relabel struct{}

func (relabel) OnSend(msg *sarama.ProducerMessage) { msg.Metadata = "mine" }

func (s *stage) asyncProducer(t *testing.T, side side, config *sarama.Config) sarama.AsyncProducer {
	t.Helper()
	p, err := sarama.NewAsyncProducer(s.cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	return side.async(p, config)
}

// sendAsync sends, and closes the producer once all has come back that will.
func sendAsync(successes bool, second sarama.ProducerInterceptor) func(*testing.T, *stage, side) {
	return func(t *testing.T, s *stage, side side) {
		t.Helper()
		config := s.config()
		config.Producer.Return.Successes = successes
		if second != nil {
			config.Producer.Interceptors = append(config.Producer.Interceptors, second)
		}
		p := s.asyncProducer(t, side, config)
		var results sync.WaitGroup
		var back atomic.Int64
		results.Go(func() {
			for range p.Successes() {
				back.Add(1)
			}
		})
		results.Go(func() {
			for range p.Errors() {
				back.Add(1)
			}
		})
		for n := range records {
			p.Input() <- message(n)
		}
		expected := int64(tooLarge)
		if successes {
			expected = records
		}
		eventually(t, "all results", func() bool { return back.Load() == expected && s.stored(t) == records-tooLarge })
		s.settle(t, side)
		s.kept()
		p.AsyncClose()
		results.Wait()
	}
}

// closeUnread closes a producer as sarama allows: Close reads what is left.
func closeUnread(t *testing.T, s *stage, side side) {
	t.Helper()
	p := s.asyncProducer(t, side, s.config())
	for n := range records {
		p.Input() <- message(tooLarge + n)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// consume has a member of a group handle records until done says so.
func (s *stage) consume(t *testing.T, side side, h handle, done func() bool) {
	t.Helper()
	config := s.config()
	config.Consumer.Offsets.AutoCommit.Interval = 10 * time.Millisecond
	group, err := sarama.NewConsumerGroup(s.cluster.ListenAddrs(), "g", config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handler := side.handler(h)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{"out"}, handler); err != nil {
				return
			}
		}
	})
	eventually(t, "records are read", done)
	cancel()
	running.Wait()
	if err := group.Close(); err != nil {
		t.Error(err)
	}
}

func readAll(t *testing.T, s *stage, side side) {
	t.Helper()
	s.seed(t)
	var n atomic.Int64
	s.consume(t, side, s.timed(func(context.Context, *sarama.ConsumerMessage) error { n.Add(1); return nil }),
		func() bool { return n.Load() >= records })
}

// readWithFailure has one record fail the first time: sarama brings it again in the next session.
func readWithFailure(t *testing.T, s *stage, side side) {
	t.Helper()
	s.seed(t)
	var n atomic.Int64
	var failed atomic.Bool
	s.consume(t, side, s.timed(func(_ context.Context, msg *sarama.ConsumerMessage) error {
		if msg.Partition == 0 && msg.Offset == records/3-1 && failed.CompareAndSwap(false, true) {
			return errors.New("once")
		}
		n.Add(1)
		return nil
	}), func() bool { return n.Load() >= records })
}

// leaveEarly is a handler that gives each claim up after its first record, as one does that has lost its database.
func leaveEarly(t *testing.T, s *stage, side side) {
	t.Helper()
	s.seed(t)
	claims := claimsOf(t, s)
	h := side.handler(s.timed(func(context.Context, *sarama.ConsumerMessage) error { return errLeft }))
	for _, claim := range claims {
		if err := h.ConsumeClaim(claim.session(), claim); !errors.Is(err, errLeft) {
			t.Errorf("the claim ends with %v", err)
		}
		claim.end()
	}
}

var errLeft = errors.New("no database")
