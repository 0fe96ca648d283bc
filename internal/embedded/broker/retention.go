package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// retentionEvery is Kafka's default for log.retention.check.interval.ms.
	retentionEvery = 5 * time.Minute
	// defaultRetention is Kafka's for retention.ms.
	defaultRetention = 7 * 24 * time.Hour
	unlimited        = -1
)

// trimmer deletes what is past its retention, as Kafka does: whole segments, from
// a log's start, while the newest record of the next is too old or the log is too
// large without it. kfake's own retention does not run after a restart, and drops
// everything before any record that is too old, be it a stranger's with time 0.
//
// Records age only while the broker runs: its clock moves by the time that passes
// then, and never goes beyond the wall clock. Neither a step of the wall clock nor
// a long pause deletes what nobody had the time to read.
type trimmer struct {
	cluster *kfake.Cluster
	disk    *disk
	log     *slog.Logger
	bytes   map[string]int64 // Config.TopicBytes
	started time.Time        // with a monotonic clock
	clock   int64            // as of started
	times   map[string]newest
	// every gets another interval.
	every chan time.Duration
}

// newest is the largest time of the records in the first bytes of a segment.
type newest struct{ size, time int64 }

func newTrimmer(cluster *kfake.Cluster, d *disk, cfg Config, logs []*partition, clock int64) *trimmer {
	t := &trimmer{
		cluster: cluster, disk: d, log: cfg.Log, bytes: cfg.TopicBytes, started: time.Now(), clock: clock,
		times: map[string]newest{}, every: make(chan time.Duration, 1),
	}
	latest := int64(0)
	for _, p := range logs {
		for i := range p.segments {
			s := &p.segments[i]
			t.times[s.path] = newest{s.size, s.newest}
			latest = max(latest, s.newest)
		}
	}
	if t.clock == 0 { // the first start with a seal
		t.clock = t.started.UnixMilli()
		if latest > 0 {
			t.clock = min(t.clock, latest)
		}
	}
	return t
}

// now is the broker's clock, Unix milliseconds.
func (t *trimmer) now() int64 { return t.clock + time.Since(t.started).Milliseconds() }

// run applies retention until ctx ends.
func (t *trimmer) run(ctx context.Context) {
	ticker := time.NewTicker(retentionEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case every := <-t.every:
			ticker.Reset(every)
			continue
		case <-ticker.C:
		}
		if err := t.pass(); err != nil {
			t.log.ErrorContext(ctx, "retention could not be applied; it is tried again", "error", err)
		}
	}
}

// reach is a log's first offset and the one after its last, and the first that
// its retention keeps.
type reach struct {
	topic            topic
	partition        int32
	start, keep, end int64
}

// pass deletes what is past its retention. What each log holds from then on is
// stored first: nobody may take what was deleted for lost.
func (t *trimmer) pass() error {
	logs, err := t.look()
	if err == nil {
		err = t.disk.flush() // the marks must not promise what a power cut can take
	}
	if err == nil {
		kept := marks(logs, func(r reach) int64 { return r.keep })
		err = t.disk.mark(func(s *seal) { s.Marks, s.Clock = kept, max(s.Clock, t.now()) })
	}
	if err != nil {
		return err
	}
	for _, r := range logs {
		if r.keep == r.start {
			continue
		}
		if err := t.cluster.DeleteRecords(r.topic.Name, r.partition, r.keep); err != nil {
			return fmt.Errorf("delete old records of %s-%d: %w", r.topic.Name, r.partition, err)
		}
		t.log.Info("records are past their retention and deleted", "topic", r.topic.Name, "partition", r.partition, "from", r.start, "to", r.keep-1)
	}
	return nil
}

// marks says what logs hold, from a start on.
func marks(logs []reach, start func(reach) int64) map[string]mark {
	all := map[string]mark{}
	for _, r := range logs {
		all[folderOf(r.topic.Name, int(r.partition))] = mark{Topic: r.topic.ID, Start: start(r), End: r.end}
	}
	return all
}

// look says of each log what it holds and what is to be kept.
func (t *trimmer) look() ([]reach, error) {
	topics, limits, err := t.settings()
	if err != nil {
		return nil, err
	}
	var logs []reach
	for _, topic := range topics {
		for _, info := range t.cluster.PartitionInfos(topic.Name) {
			r := reach{topic: topic, partition: info.Partition, start: info.LogStartOffset, end: info.HighWatermark}
			if r.keep, err = t.expired(r, limits.of(topic)); err != nil {
				return nil, err
			}
			logs = append(logs, r)
		}
	}
	return logs, nil
}

// expired returns the first offset of a log that is to be kept.
func (t *trimmer) expired(r reach, l limit) (int64, error) {
	all, err := segments(t.disk.path(partsFolder, folderOf(r.topic.Name, int(r.partition))))
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for i := range all {
		info, err := os.Stat(all[i].path)
		if err != nil {
			return 0, fmt.Errorf("apply retention: %w", err)
		}
		all[i].size = info.Size()
		if all[i].newest, err = t.newest(all[i].path, info.Size()); err != nil {
			return 0, err
		}
		if all[i].newest <= 0 { // no time that means anything: Kafka takes the file's
			all[i].newest = info.ModTime().UnixMilli()
		}
		total += all[i].size
	}
	keep, now := r.start, min(t.now(), time.Now().UnixMilli())
	for i := range all {
		next := r.end
		if i < len(all)-1 {
			next = all[i+1].base
		}
		old := l.age >= 0 && all[i].newest <= now-l.age
		large := l.bytes >= 0 && i < len(all)-1 && total-all[i].size >= l.bytes
		if !old && !large {
			break
		}
		keep, total = max(keep, next), total-all[i].size
	}
	return keep, nil
}

// newest is the largest time of a segment's records. It reads on from where it
// read last, from header to header.
func (t *trimmer) newest(path string, size int64) (int64, error) {
	known := t.times[path]
	if known.size > size {
		known = newest{}
	}
	if known.size == size {
		return known.time, nil
	}
	file, err := os.Open(path) //nolint:gosec // in the operator's folder
	if err != nil {
		return 0, fmt.Errorf("apply retention: %w", err)
	}
	defer func() { _ = file.Close() }()
	h := make(header, headerSize)
	for known.size < size {
		if _, err := file.ReadAt(h, known.size); errors.Is(err, io.EOF) {
			break // kfake is at it
		} else if err != nil {
			return 0, fmt.Errorf("apply retention: %w", err)
		}
		if h.size() < headerSize || known.size+h.size() > size {
			break
		}
		if known.size == 0 || h.maxTime() > known.time {
			known.time = h.maxTime()
		}
		known.size += h.size()
	}
	t.times[path] = known
	return known.time, nil
}

// limit is how long a log keeps records, in milliseconds and bytes; negative: for ever.
type limit struct{ age, bytes int64 }

// limits are the broker's settings, which a topic's own replace.
type limits struct {
	shared map[string]string
	bytes  map[string]int64 // by topic
}

func (l limits) of(t topic) limit {
	get := func(standard int64, texts ...string) int64 {
		for _, text := range texts {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				return n
			}
		}
		return standard
	}
	bytes := get(unlimited, l.shared["log.retention.bytes"])
	if n, ok := l.bytes[t.Name]; ok {
		bytes = n
	}
	return limit{
		age:   get(defaultRetention.Milliseconds(), t.Configs["retention.ms"], l.shared["log.retention.ms"]),
		bytes: get(bytes, t.Configs["retention.bytes"]),
	}
}

// settings reads what kfake has stored of its topics and settings.
func (t *trimmer) settings() ([]topic, limits, error) {
	content, err := os.ReadFile(t.disk.path(topicsFile))
	if err != nil {
		return nil, limits{}, fmt.Errorf("apply retention: %w", err)
	}
	topics, err := parseTopics(content)
	if err != nil {
		return nil, limits{}, err
	}
	var shared struct {
		Configs map[string]string `json:"configs"`
	}
	content, err = os.ReadFile(t.disk.path(configsFile))
	if err == nil {
		err = json.Unmarshal(content, &shared)
	}
	if err != nil {
		return nil, limits{}, fmt.Errorf("apply retention: %w", err)
	}
	return topics, limits{shared.Configs, t.bytes}, nil
}
