package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Unreadable are batches that match their checksum and of which a reader can make
// nothing, of one offset each but for "count", which takes five. A broker that
// does not look into batches stores them.
func Unreadable(t testing.TB) map[string][]byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = encoder.Close() }()
	const zstdCodec = 4
	return map[string][]byte{
		"compression": batch(zstdCodec, 1, []byte("this is not zstd")),
		"count":       batch(0, 5, rawRecord(0, "x")),
		"trail":       batch(0, 1, append(rawRecord(0, "x"), 1, 2, 3)),
		"delta":       batch(0, 1, rawRecord(100, "x")),
		"bomb":        batch(zstdCodec, 1, encoder.EncodeAll(rawRecord(0, string(make([]byte, 2*record.MaxDecompressed))), nil)),
	}
}

func rawRecord(delta int32, value string) []byte {
	r := kmsg.Record{OffsetDelta: delta, Key: []byte("raw"), Value: []byte(value)}
	r.Length = int32(len(r.AppendTo(nil)) - 1) //nolint:gosec // small; the length of 0 takes a byte
	return r.AppendTo(nil)
}

func batch(codec int16, count int32, payload []byte) []byte {
	const afterLength, atLength, atChecksum, afterChecksum = 12, 8, 17, 21
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		Magic: 2, Attributes: codec, LastOffsetDelta: count - 1, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: count, Records: payload,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[atLength:], uint32(len(raw)-afterLength)) //nolint:gosec // small
	binary.BigEndian.PutUint32(raw[atChecksum:], crc32.Checksum(raw[afterChecksum:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// Put stores a batch as it is at the end of a partition.
func Put(t testing.TB, cfg kafka.Config, topic string, partition int32, batch []byte) {
	t.Helper()
	r, answer := kmsg.NewProduceRequest(), kmsg.NewProduceResponse()
	const version = 8
	r.SetVersion(version)
	answer.SetVersion(version)
	r.Acks, r.TimeoutMillis = -1, 10_000
	of, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	of.Topic, of.Partitions = topic, append(of.Partitions, p)
	r.Topics = append(r.Topics, of)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", cfg.Brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	size := make([]byte, 4)
	if _, err = c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, &r, 1)); err == nil {
		_, err = io.ReadFull(c, size)
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if err == nil {
		_, err = io.ReadFull(c, body)
	}
	if err == nil {
		err = answer.ReadFrom(body[4:]) // after the correlation id
	}
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("store a batch as it is: %v", err)
	}
}

// Credulous starts a broker that stores every batch that matches its checksum,
// with all topics, and connects a client for administration.
func Credulous(t testing.TB) (kafka.Config, *kafka.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return connect(t, cluster.ListenAddrs())
}
