//go:build unix

package groups_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// brokersElsewhere has this program be the cluster for a benchmark, in a process of
// its own, so that only the collector's processor time is measured. It ends when
// its standard input does.
const brokersElsewhere = "GROUPS_TEST_BROKERS"

func TestBrokersElsewhere(t *testing.T) {
	if os.Getenv(brokersElsewhere) == "" {
		t.Skip("it is for the benchmarks' other process")
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Printf("brokers %s\n", strings.Join(c.ListenAddrs(), ","))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func startBrokers(b *testing.B) []string {
	b.Helper()
	command := exec.Command(os.Args[0], "-test.run", "^TestBrokersElsewhere$")
	command.Env = append(os.Environ(), brokersElsewhere+"=1")
	input, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = input.Close(); _, _ = io.Copy(io.Discard, output); _ = command.Wait() })
	line, err := bufio.NewReader(output).ReadString('\n')
	addresses, found := strings.CutPrefix(strings.TrimSpace(line), "brokers ")
	if err != nil || !found {
		b.Fatalf("%q, %v", line, err)
	}
	return strings.Split(addresses, ",")
}

// A round over n partitions, each read by one of n/33 groups that is one record
// behind.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run("partitions="+strconv.Itoa(n), func(b *testing.B) { benchmarkRound(b, n) })
	}
}

func benchmarkRound(b *testing.B, partitions int) {
	brokers := startBrokers(b)
	fill(b, brokers, partitions)
	c, err := groups.New(groups.Config{Kafka: kafka.Config{Brokers: brokers, ClientID: "bench"}, Timeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	page := telemetrytest.New(b, "sentinelle", groups.Catalogue())
	if err := c.Export(page.Telemetry); err != nil {
		b.Fatal(err)
	}
	before := processorTime(b)
	rounds := 0
	for r := c.Look(b.Context()); r.LeftOut.Ages > 0 || rounds == 0; r = c.Look(b.Context()) {
		rounds++
	}
	first := (processorTime(b) - before).Seconds() * 1000 / float64(rounds+1)
	requests := 0
	b.ResetTimer()
	before = processorTime(b)
	for range b.N {
		r := c.Look(b.Context())
		requests = 0
		for _, n := range r.Requests {
			requests += n
		}
		if len(r.Failures) > 0 {
			b.Fatal(r.Failures)
		}
	}
	b.ReportMetric((processorTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/round")
	b.ReportMetric(first, "fetching-cpu-ms/round")
	b.ReportMetric(float64(requests), "requests/round")
	before = processorTime(b)
	size := len(page.Page())
	b.ReportMetric((processorTime(b)-before).Seconds()*1000, "cpu-ms/scrape")
	b.ReportMetric(float64(size)/1e6, "MB/scrape")
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.HeapAlloc)/1e6, "heap-MB")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// fill makes topics of 100 partitions with two records in each, and groups that have
// processed the first of them.
func fill(b *testing.B, brokers []string, partitions int) {
	b.Helper()
	const width, share = 100, 33
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9) // the last that names topics
	client, err := kgo.NewClient(kgo.MaxVersions(versions), kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	topics := kmsg.NewPtrCreateTopicsRequest()
	topics.TimeoutMillis = 60_000
	for i := range partitions / width {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = "topic-"+strconv.Itoa(i), width, 3
		topics.Topics = append(topics.Topics, t)
	}
	if _, err := topics.RequestWith(b.Context(), client); err != nil {
		b.Fatal(err)
	}
	var records []*kgo.Record
	for i := range partitions {
		for range 2 {
			records = append(records, &kgo.Record{Topic: "topic-" + strconv.Itoa(i/width), Partition: int32(i % width), Value: []byte("a record of some bytes")})
		}
	}
	if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	for first := 0; first < partitions; first += share {
		commitAll(b, client, "group-"+strconv.Itoa(first/share), first, min(first+share, partitions), width)
	}
}

func commitAll(b *testing.B, client *kgo.Client, group string, from, to, width int) {
	b.Helper()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.Generation = group, -1
	for i := from; i < to; i++ {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = "topic-" + strconv.Itoa(i/width)
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(i%width), 1
		t.Partitions = append(t.Partitions, p)
		request.Topics = append(request.Topics, t)
	}
	answer, err := request.RequestWith(b.Context(), client)
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.Partitions[0].ErrorCode); err != nil {
			b.Fatal(err)
		}
	}
}
