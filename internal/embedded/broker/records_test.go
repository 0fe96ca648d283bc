package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/record"
)

// recordOf is a record as it stands in a batch.
func recordOf(delta int32, value string) []byte {
	r := kmsg.Record{OffsetDelta: delta, Key: []byte("key"), Value: []byte(value), Headers: []kmsg.Header{{Key: "name", Value: []byte("value")}, {Key: "null"}}}
	r.Length = int32(len(r.AppendTo(nil)) - 1) // the length of 0 takes a byte
	return r.AppendTo(nil)
}

// batchOf is a batch that says that it has so many records, and matches its checksum.
func batchOf(attributes uint16, count int32, payload []byte) []byte {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		Magic: magic, Attributes: int16(attributes), LastOffsetDelta: count - 1, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: count, Records: payload,
	}
	return sealed(b.AppendTo(nil))
}

// sealed gives a batch its length and checksum.
func sealed(batch []byte) []byte {
	binary.BigEndian.PutUint32(batch[atLength:], uint32(len(batch)-lengthEnd))
	binary.BigEndian.PutUint32(batch[atChecksum:], crc32.Checksum(batch[atAttributes:], checksums()))
	return batch
}

// compressed is what a producer makes of records, by codec.
func compressed(t testing.TB, codec uint16, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	write := func(w interface {
		Write(b []byte) (int, error)
		Close() error
	}) {
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close())
	}
	switch codec {
	case codecGzip:
		write(gzip.NewWriter(&out))
	case codecSnappy:
		return snappy.Encode(nil, plain)
	case codecLZ4:
		w := lz4.NewWriter(&out)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil { // its buffers are large otherwise
			t.Fatal(err)
		}
		write(w)
	case codecZstd:
		w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		write(w)
	default:
		return plain
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unreadable are batches that match their checksum and are no use to a reader.
func unreadable(t testing.TB) map[string][]byte {
	one := recordOf(0, "x")
	producer := batchOf(0, 1, one)
	binary.BigEndian.PutUint64(producer[atProducer:], 7)
	zeros := recordOf(0, string(make([]byte, 2*record.MaxDecompressed)))
	all := map[string][]byte{
		"more records than there are":   batchOf(0, 5, one),
		"fewer records than there are":  batchOf(0, 1, append(bytes.Clone(one), recordOf(1, "y")...)),
		"bytes left over":               batchOf(0, 1, append(bytes.Clone(one), 1, 2, 3)),
		"a place beyond the batch":      batchOf(0, 1, recordOf(100, "x")),
		"a place before the batch":      batchOf(0, 1, recordOf(-1, "x")),
		"one place twice":               batchOf(0, 2, append(bytes.Clone(one), one...)),
		"a length that is none":         batchOf(0, 1, bytes.Repeat([]byte{0xff}, 11)),
		"a length beyond the batch":     batchOf(0, 1, append([]byte{0x7e}, one[1:]...)),
		"a length in more bytes":        batchOf(0, 1, append([]byte{one[0] | 0x80, 0}, one[1:]...)),
		"a record of no length":         batchOf(0, 1, []byte{0}),
		"a negative length":             batchOf(0, 1, []byte{1}),
		"headers that are not there":    batchOf(0, 1, []byte{14, 0, 0, 0, 1, 1, 20, 0}),
		"a header without a name":       batchOf(0, 1, []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}),
		"a codec that nobody knows":     batchOf(7, 1, one),
		"a producer without a sequence": sealed(producer),
	}
	for codec, name := range map[uint16]string{codecGzip: "gzip", codecSnappy: "snappy", codecLZ4: "lz4", codecZstd: "zstd"} {
		all["not "+name] = batchOf(codec, 1, []byte("this is nothing of the kind, sorry"))
		half := compressed(t, codec, many(100))
		all["half of "+name] = batchOf(codec, 100, half[:len(half)/2])
		all["more than "+name] = batchOf(codec, 1, compressed(t, codec, append(bytes.Clone(one), 1, 2, 3)))
		all["a bomb in "+name] = batchOf(codec, 1, compressed(t, codec, zeros))
	}
	return all
}

func many(n int) (records []byte) {
	for i := range n {
		records = append(records, recordOf(int32(i), "the same")...)
	}
	return records
}

// Kafka refuses such batches. kfake takes those whose checksum is right, and from
// then on no reader gets any further.
func TestBatchesThatNobodyCanReadAreRefused(t *testing.T) {
	b, log := begin(t, t.TempDir())
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now(), "before")
	for name, batch := range unreadable(t) {
		code, why := produce(t, b, batch)
		if !errors.Is(code, sarama.ErrInvalidRecord) && !errors.Is(code, sarama.ErrMessageSizeTooLarge) || why == "" {
			t.Errorf("%s: %v, %q", name, code, why)
		}
	}
	publish(t, c, time.Now(), "after")
	if got := read(t, c); !maps.Equal(got, map[int64]string{0: "before", 1: "after"}) {
		t.Errorf("the log has %v", got)
	}
	if !strings.Contains(log.String(), "batch is refused") {
		t.Errorf("the log does not tell:\n%s", log)
	}
}

// One partition's batch that is refused is no reason to refuse another's.
func TestOnlyTheBatchThatCannotBeReadIsRefused(t *testing.T) {
	b, _ := begin(t, t.TempDir())
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	admin, err := sarama.NewClusterAdminFromClient(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CreatePartitions(testTopic, 2, nil, false); err != nil {
		t.Fatal(err)
	}
	franz := franzClient(t, b)
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = testTopic, b.cluster.TopicInfo(testTopic).TopicID
	for id, batch := range [][]byte{batchOf(0, 5, recordOf(0, "x")), batchOf(0, 1, recordOf(0, "x"))} {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(id), batch
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	answer, err := r.RequestWith(t.Context(), franz)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range answer.Topics[0].Partitions {
		want := []sarama.KError{sarama.ErrInvalidRecord, sarama.ErrNoError}[p.Partition]
		if sarama.KError(p.ErrorCode) != want {
			t.Errorf("partition %d: %v, want %v", p.Partition, sarama.KError(p.ErrorCode), want)
		}
	}
}

func franzClient(t *testing.T, b *Broker, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Address()), kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What clients send passes, whatever they compress with.
func TestWhatClientsSendPasses(t *testing.T) {
	b, _ := begin(t, t.TempDir())
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	random := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for codec, with := range map[sarama.CompressionCodec]kgo.CompressionCodec{
		sarama.CompressionNone: kgo.NoCompression(), sarama.CompressionGZIP: kgo.GzipCompression(), sarama.CompressionSnappy: kgo.SnappyCompression(),
		sarama.CompressionLZ4: kgo.Lz4Compression(), sarama.CompressionZSTD: kgo.ZstdCompression(),
	} {
		cfg := sarama.NewConfig()
		cfg.Version, cfg.Producer.Compression, cfg.Producer.Return.Successes = sarama.V2_6_0_0, codec, true
		cfg.Producer.Partitioner = sarama.NewManualPartitioner
		producer, err := sarama.NewSyncProducer([]string{b.Address()}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		franz := franzClient(t, b, kgo.ProducerBatchCompression(with))
		for _, n := range []int{1, 2, 50} {
			var messages []*sarama.ProducerMessage
			var records []*kgo.Record
			for range n {
				r := &kgo.Record{Topic: testTopic, Key: text(random), Value: text(random)}
				m := &sarama.ProducerMessage{Topic: testTopic, Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Value)}
				for range random.IntN(4) {
					name, value := fmt.Sprint(random.IntN(9)), text(random)
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: value})
					m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(name), Value: value})
				}
				messages, records = append(messages, m), append(records, r)
			}
			if err := producer.SendMessages(messages); err != nil {
				t.Errorf("sarama, %v, %d records: %v", codec, n, err)
			}
			if err := franz.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
				t.Errorf("franz-go, %v, %d records: %v", codec, n, err)
			}
			sent += 2 * n
		}
		_ = producer.Close()
	}
	if got := read(t, c); len(got) != sent {
		t.Errorf("%d records can be read of %d", len(got), sent)
	}
}

// text is null, empty, short or long.
func text(r *rand.Rand) []byte {
	if r.IntN(4) == 0 {
		return nil
	}
	b := make([]byte, []int{0, 5, 200, 5000}[r.IntN(4)])
	for i := range b {
		b[i] = byte(r.IntN(40))
	}
	return b
}

// Whatever a batch is made into: what is stored, a reader can read.
func TestWhatIsStoredCanBeRead(t *testing.T) {
	b, _ := begin(t, t.TempDir())
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	random, taken := rand.New(rand.NewPCG(3, 4)), 0
	var good [5][]byte // by codec
	for codec := range good {
		good[codec] = batchOf(uint16(codec), 2, compressed(t, uint16(codec), append(recordOf(0, "one"), recordOf(1, "two")...)))
	}
	for range 2000 {
		batch := bytes.Clone(good[random.IntN(len(good))])
		for range 1 + random.IntN(2) {
			batch[atAttributes+random.IntN(len(batch)-atAttributes)] ^= byte(1) << random.IntN(8)
		}
		if code, _ := produce(t, b, sealed(batch)); code == sarama.ErrNoError {
			taken++
		}
	}
	got := read(t, c) // fails where it gets no further
	if _, next := bounds(t, c); int64(len(got)) > next || taken == 0 {
		t.Errorf("%d records of %d can be read, of %d batches", len(got), next, taken)
	}
	t.Log("taken", taken)
}

// A log that has such batches, from an older version, is refused by place.
func TestUnreadableBatchesInTheLogAreReported(t *testing.T) {
	for name, batch := range unreadable(t) {
		if strings.Contains(name, "gzip") || strings.Contains(name, "snappy") || strings.Contains(name, "lz4") {
			continue // one codec is enough here
		}
		for _, last := range []bool{false, true} {
			folder := t.TempDir()
			b, _ := begin(t, folder)
			c := client(t, b)
			makeTopic(t, c)
			publish(t, c, time.Now(), "before")
			_ = c.Close()
			end(t, b)
			batch, next := bytes.Clone(batch), int64(1)
			putAt(batch, &next)
			if !last {
				good := batchOf(0, 1, recordOf(0, "after"))
				putAt(good, &next)
				batch = append(batch, good...)
			}
			path := segmentsOf(t, folder)[0]
			at := appendTo(t, path, batch)
			before := tree(t, folder)
			_, err := Start(context.Background(), Config{Address: "127.0.0.1:0", Folder: folder})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("%s at byte %d: offset 1: ", path, at)) {
				t.Fatalf("%s: started with %v", name, err)
			}
			unchanged(t, folder, before)
			if places, err := Salvage(folder, logger(&logBuffer{})); err != nil || places != 1 {
				t.Fatalf("%s: salvage gave up %d places: %v", name, places, err)
			}
			b, _ = begin(t, folder)
			c = client(t, b)
			want := map[int64]string{0: "before"}
			if !last {
				want[next-1] = "after"
			}
			if got := read(t, c); !maps.Equal(got, want) {
				t.Errorf("%s: after salvage the log has %v, want %v", name, got, want)
			}
			if _, end := bounds(t, c); end != next {
				t.Errorf("%s: the log goes on at %d, want %d", name, end, next)
			}
			end(t, b)
		}
	}
}

// putAt gives a batch its offset, and moves it on.
func putAt(batch []byte, next *int64) {
	binary.BigEndian.PutUint64(batch, uint64(*next))
	*next = header(batch).next()
}

func appendTo(t *testing.T, path string, b []byte) (at int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Clean(path), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// FuzzContent: whatever is in a batch, looking into it ends, and takes no more
// memory than it may.
func FuzzContent(f *testing.F) {
	for _, batch := range unreadable(f) {
		f.Add(batch[atAttributes:])
	}
	for codec := range uint16(5) {
		f.Add(batchOf(codec, 2, compressed(f, codec, append(recordOf(0, "one"), recordOf(1, "two")...)))[atAttributes:])
	}
	c := &content{}
	f.Fuzz(func(t *testing.T, fields []byte) {
		if len(fields) < headerSize-atAttributes {
			return
		}
		batch := append(make([]byte, atAttributes), fields...)
		if c.fault(batch, true) == "" && c.fault(batch, false) != "" {
			t.Error("what a producer may send is damage in the log")
		}
		if cap(c.plain) > 4*record.MaxDecompressed {
			t.Errorf("%d bytes were taken", cap(c.plain))
		}
	})
}
