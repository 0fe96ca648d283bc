package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is no request of Kafka's ends its connection, and nothing else.
func TestStrangersDoNoHarm(t *testing.T) {
	b, _ := begin(t, t.TempDir())
	defer end(t, b)
	for name, sent := range map[string]string{
		"HTTP":            "GET / HTTP/1.1\r\n\r\n",
		"an unknown kind": "\x00\x00\x00\x0a\x7f\xff\x00\x00\x00\x00\x00\x01\xff\xff",
		"nothing":         "\x00\x00\x00\x00",
	} {
		c, err := net.Dial("tcp", b.Address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: read %v, want the connection's end", name, err)
		}
		_ = c.Close()
	}
	makeTopic(t, client(t, b))
}

// kfake would store a batch that asks for the time of storing with a checksum
// that is none, and take it and all after it for damaged at its next start.
func TestProducersCannotAskForTheTimeOfStoring(t *testing.T) {
	folder := t.TempDir()
	b, _ := begin(t, folder)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now(), "before")
	record := recordOf(0, "by hand")
	if code, why := produce(t, b, batchOf(attrAppendTime, 1, record)); !errors.Is(code, sarama.ErrInvalidTimestamp) || why == "" {
		t.Errorf("a batch with the time of storing: %v, %q", code, why)
	}
	if code, why := produce(t, b, batchOf(0, 1, record)); code != sarama.ErrNoError {
		t.Errorf("the same without: %v, %s", code, why)
	}
	end(t, b)
	b, _ = begin(t, folder)
	defer end(t, b)
	if got := read(t, client(t, b)); len(got) != 2 {
		t.Errorf("%d records after a restart, want 2", len(got))
	}
}

// produce sends a batch as it is and returns the answer.
func produce(t *testing.T, b *Broker, batch []byte) (code sarama.KError, message string) {
	t.Helper()
	const version = 8
	r := kmsg.NewProduceRequest()
	r.SetVersion(version)
	r.Acks, r.TimeoutMillis = -1, 1000
	topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch
	topic.Topic, topic.Partitions = testTopic, append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)

	frame := kmsg.NewRequestFormatter().AppendRequest(nil, &r, 1)
	c, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(frame); err != nil {
		t.Fatal(err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(c, size); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	answer := kmsg.NewProduceResponse()
	answer.SetVersion(version)
	if err := answer.ReadFrom(body[4:]); err != nil {
		t.Fatal(err)
	}
	of := answer.Topics[0].Partitions[0]
	if of.ErrorMessage != nil {
		message = *of.ErrorMessage
	}
	return sarama.KError(of.ErrorCode), message
}
