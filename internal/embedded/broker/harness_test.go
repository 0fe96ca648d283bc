package broker

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

// testTopic has one partition, and small segments.
const testTopic = "t"

// begin starts a broker on the folder. Its log is in the buffer.
func begin(t *testing.T, folder string, change ...func(*Config)) (*Broker, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	cfg := Config{Address: "127.0.0.1:0", Folder: folder, Log: slog.New(slog.NewTextHandler(log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	b, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b, log
}

// end closes a broker that has nothing to complain of.
func end(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// logBuffer collects a log's lines.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// client connects with what is left open closed at the test's end.
func client(t *testing.T, b *Broker) sarama.Client {
	t.Helper()
	cfg := sarama.NewConfig()
	cfg.MetricRegistry = metrics.NewRegistry()
	cfg.Version = sarama.V2_6_0_0
	cfg.Producer.Return.Successes = true
	cfg.Producer.Retry.Max = 0
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	c, err := sarama.NewClient([]string{b.Address()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// makeTopic creates the test topic. The settings are key, value, …
func makeTopic(t *testing.T, c sarama.Client, settings ...string) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(c)
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]*string{}
	for i := 0; i < len(settings); i += 2 {
		entries[settings[i]] = &settings[i+1]
	}
	if err := admin.CreateTopic(testTopic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: entries}, false); err != nil {
		t.Fatal(err)
	}
	if err := c.RefreshMetadata(testTopic); err != nil {
		t.Fatal(err)
	}
}

// publish sends records, each in a batch of its own, at a time.
func publish(t *testing.T, c sarama.Client, at time.Time, values ...string) {
	t.Helper()
	if err := tryPublish(c, at, values...); err != nil {
		t.Fatal(err)
	}
}

func tryPublish(c sarama.Client, at time.Time, values ...string) error {
	p, err := sarama.NewSyncProducerFromClient(c)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	for _, v := range values {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: testTopic, Value: sarama.StringEncoder(v), Timestamp: at}); err != nil {
			return err
		}
	}
	return nil
}

// bounds are a log's first and next offset.
func bounds(t *testing.T, c sarama.Client) (start, next int64) {
	t.Helper()
	for at, into := range map[int64]*int64{sarama.OffsetOldest: &start, sarama.OffsetNewest: &next} {
		offset, err := c.GetOffset(testTopic, 0, at)
		if err != nil {
			t.Fatal(err)
		}
		*into = offset
	}
	return start, next
}

// read returns a log's records by offset, from its start to its end.
func read(t *testing.T, c sarama.Client) map[int64]string {
	t.Helper()
	all := map[int64]string{}
	start, next := bounds(t, c)
	for at := start; at < next; {
		request := &sarama.FetchRequest{Version: 11, MinBytes: 1, MaxBytes: 1 << 20, MaxWaitTime: 1, Isolation: sarama.ReadCommitted}
		request.AddBlock(testTopic, 0, at, 1<<20, -1)
		leader, err := c.Leader(testTopic, 0)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := leader.Fetch(request)
		if err != nil {
			t.Fatal(err)
		}
		block := answer.GetBlock(testTopic, 0)
		if block == nil || block.Err != sarama.ErrNoError || len(block.RecordsSet) == 0 {
			t.Fatalf("fetch at %d of [%d, %d): %+v", at, start, next, block)
		}
		for _, set := range block.RecordsSet {
			batch := set.RecordBatch
			for _, r := range batch.Records {
				if offset := batch.FirstOffset + r.OffsetDelta; offset >= at && !batch.Control {
					all[offset] = string(r.Value)
				}
			}
			at = max(at, batch.FirstOffset+int64(batch.LastOffsetDelta)+1)
		}
	}
	return all
}

// values are n values that differ, at least 20 bytes each.
func values(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("value %d %s", i, strings.Repeat("x", 20))
	}
	return all
}

// filled returns a folder whose log has n records in segments of two, as it is
// when the broker is killed, and as after a stop.
func filled(t *testing.T, n int) (killed, stopped string) {
	t.Helper()
	killed, stopped = t.TempDir(), t.TempDir()
	b, _ := begin(t, stopped)
	c := client(t, b)
	makeTopic(t, c, "segment.bytes", "150")
	publish(t, c, time.Now(), values(n)...)
	copyTree(t, stopped, killed)
	_ = c.Close()
	end(t, b)
	return killed, stopped
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// tree is every file below a folder, but for the lock.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		content, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, folder)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged holds a folder against what it was.
func unchanged(t *testing.T, folder string, before map[string]string) {
	t.Helper()
	if after := tree(t, folder); !maps.Equal(before, after) {
		t.Errorf("the folder was changed: it has %d files, had %d", len(after), len(before))
	}
}

// segmentsOf are the paths of the test topic's segments.
func segmentsOf(t *testing.T, folder string) []string {
	t.Helper()
	all, err := segments(filepath.Join(folder, brokerFolder, logFolder, partsFolder, testTopic+"-0"))
	if err != nil {
		t.Fatal(err)
	}
	paths := make([]string, len(all))
	for i := range all {
		paths[i] = all[i].path
	}
	return paths
}

// logFile is the path of one of kfake's files.
func logFile(folder, name string) string { return filepath.Join(folder, brokerFolder, logFolder, name) }

// flip turns one bit of a file over.
func flip(t *testing.T, path string, at int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	flipIn(t, f, at, bit)
}

func flipIn(t *testing.T, f *os.File, at int64, bit int) {
	t.Helper()
	b := make([]byte, 1)
	_, err := f.ReadAt(b, at)
	b[0] ^= 1 << bit
	if err == nil {
		_, err = f.WriteAt(b, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eachBit calls look with every bit of a file flipped in turn.
func eachBit(t *testing.T, path string, look func(at int64, bit int)) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for at := range info.Size() {
		for bit := range 8 {
			flipIn(t, f, at, bit)
			look(at, bit)
			flipIn(t, f, at, bit)
		}
	}
}

func logger(log *logBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(log, nil)) }
