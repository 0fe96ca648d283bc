package broker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// attrAppendTime has a batch's records have the time at which they were stored.
const attrAppendTime = 0x08

// never is an interval that no broker lives to see, in milliseconds: kfake's own
// retention and compaction do not run. Its compaction deletes a log's files before
// it writes them anew.
const never = "3155760000000"

// intervalSetting is how often kfake applies retention.
const intervalSetting = "log.cleaner.backoff.ms"

// guard has requests looked at before kfake handles them.
func (b *Broker) guard() {
	b.before(kmsg.Produce, func(r kmsg.Request) error { b.intake.look(r.(*kmsg.ProduceRequest)); return nil }) //nolint:forcetypeassert // by its key
	b.before(kmsg.DeleteRecords, func(r kmsg.Request) error {
		return b.markDeleted(r.(*kmsg.DeleteRecordsRequest)) //nolint:forcetypeassert // by its key
	})
	b.before(kmsg.AlterConfigs, func(r kmsg.Request) error {
		for i := range r.(*kmsg.AlterConfigsRequest).Resources { //nolint:forcetypeassert // by its key
			resource := &r.(*kmsg.AlterConfigsRequest).Resources[i] //nolint:forcetypeassert // by its key
			for j := range resource.Configs {
				b.takeInterval(resource.ResourceType, resource.Configs[j].Name, &resource.Configs[j].Value)
			}
		}
		return nil
	})
	b.before(kmsg.IncrementalAlterConfigs, func(r kmsg.Request) error {
		for i := range r.(*kmsg.IncrementalAlterConfigsRequest).Resources { //nolint:forcetypeassert // by its key
			resource := &r.(*kmsg.IncrementalAlterConfigsRequest).Resources[i] //nolint:forcetypeassert // by its key
			for j := range resource.Configs {
				b.takeInterval(resource.ResourceType, resource.Configs[j].Name, &resource.Configs[j].Value)
			}
		}
		return nil
	})
}

// renewAfter is how many requests a control function of kfake sees: kfake keeps
// the last request of every connection that one has seen, for as long as it lives.
const renewAfter = 10_000

// before has a function see each request of a kind. After an error the connection
// is closed instead of an answer. The functions run one at a time.
func (b *Broker) before(key kmsg.Key, look func(kmsg.Request) error) {
	seen := 0
	b.cluster.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if seen++; seen == renewAfter {
			b.cluster.DropControl()
			b.before(key, look)
		}
		err := look(r)
		return nil, err, err != nil
	})
}

// intake refuses batches that kfake would store and that some reader cannot read,
// as Kafka does: kfake looks at checksums, and not at what they cover.
type intake struct {
	cluster  *kfake.Cluster
	log      *slog.Logger
	content  content
	refused  *kfake.FaultHandle // what the last request was refused for
	loggedAt time.Time
}

// look has kfake refuse the batches of a request that are not as they should be.
func (i *intake) look(r *kmsg.ProduceRequest) {
	if i.refused != nil {
		i.refused.Remove() // used, unless kfake had other reasons
		i.refused = nil
	}
	var faults []kfake.Fault
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			refusal := i.refusal(p.Records)
			if refusal == nil {
				continue
			}
			i.tell(t.Topic, p.Partition, refusal.Message)
			faults = append(faults, kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: t.Topic, TopicID: t.TopicID, Partitions: []int32{p.Partition}, Err: refusal,
				When: func(other kmsg.Request) bool { return other == r },
			})
		}
	}
	if len(faults) > 0 {
		i.refused = i.cluster.Fault(faults...)
	}
}

// refusal is the answer to a batch that is not to be stored. What is no whole
// batch is for kfake to refuse.
func (i *intake) refusal(batch []byte) *kerr.Error {
	if len(batch) < headerSize || header(batch).size() != int64(len(batch)) || header(batch)[atMagic] != magic ||
		crc32.Checksum(batch[atAttributes:], checksums()) != header(batch).checksum() {
		return nil
	}
	// kfake would change the batch's times and not its checksum, and find it
	// damaged at its next start.
	if header(batch).attributes()&attrAppendTime != 0 {
		return &kerr.Error{Code: kerr.InvalidTimestamp.Code, Message: "a producer cannot ask for the time of storing"}
	}
	if what := i.content.fault(batch, true); what != "" {
		return &kerr.Error{Code: kerr.InvalidRecord.Code, Message: what}
	}
	return nil
}

// tell tells of a refused batch, now and then: its producer has the answer.
func (i *intake) tell(topic string, partition int32, why string) {
	if time.Since(i.loggedAt) < tellEvery {
		return
	}
	i.loggedAt = time.Now()
	i.log.Warn("a producer's batch is refused", "topic", topic, "partition", partition, "why", why)
}

// markDeleted stores that records are about to be deleted.
func (b *Broker) markDeleted(r *kmsg.DeleteRecordsRequest) error {
	changed := map[string]mark{}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			info, topic := b.cluster.PartitionInfo(t.Topic, p.Partition), b.cluster.TopicInfo(t.Topic)
			if info == nil || topic == nil {
				continue
			}
			to := p.Offset
			if to == -1 {
				to = info.HighWatermark
			}
			if to < info.LogStartOffset || to > info.HighWatermark {
				continue // refused
			}
			changed[folderOf(t.Topic, int(p.Partition))] = mark{Topic: topicID(topic.TopicID), Start: to, End: info.HighWatermark}
		}
	}
	if err := b.disk.flush(); err != nil {
		return err
	}
	return b.disk.mark(func(s *seal) {
		for folder, m := range changed {
			s.Marks[folder] = m
		}
	})
}

// takeInterval has the broker apply retention as often as kfake is asked to.
func (b *Broker) takeInterval(resource kmsg.ConfigResourceType, name string, value **string) {
	if resource != kmsg.ConfigResourceTypeBroker || name != intervalSetting || *value == nil {
		return
	}
	if n, err := strconv.ParseInt(**value, 10, 64); err == nil && n > 0 && n < math.MaxInt64/int64(time.Millisecond) {
		select {
		case b.trimmer.every <- time.Duration(n) * time.Millisecond:
		default: // one is about to be taken
		}
	}
	text := never
	*value = &text
}

// topicID writes a topic's id as kfake does in its files.
func topicID(id [16]byte) string { return base64.StdEncoding.EncodeToString(id[:]) }

// folderOf is the name of a partition's folder.
func folderOf(topic string, partition int) string {
	return url.PathEscape(topic) + "-" + strconv.Itoa(partition)
}

// listener tells the broker's log what kfake has to say, and the disk what kfake
// goes on without.
type listener struct {
	log  *slog.Logger
	disk *disk

	mu       sync.Mutex
	loggedAt time.Time // when the last full disk was
}

// tellEvery keeps a full disk, or a producer, from filling the log.
const tellEvery = 10 * time.Second

// Logf implements kfake.Logger.
func (l *listener) Logf(level kfake.LogLevel, format string, args ...any) {
	if level > kfake.LogLevelWarn {
		return
	}
	var err error
	if len(args) > 0 {
		err, _ = args[len(args)-1].(error)
	}
	message := fmt.Sprintf(format, args...)
	switch full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT); {
	case !strings.HasPrefix(format, "persist "):
		l.log.Warn("the embedded broker reports", "message", message)
	case full && (strings.HasPrefix(format, "persist batch") || strings.HasPrefix(format, "persist group") || strings.HasPrefix(format, "persist pid")):
		l.tellFull(message)
	default:
		l.disk.abort(errors.New(message))
	}
}

// tellFull tells of a full disk. The producer of a record that was not stored has
// an error, and the next write may find space.
func (l *listener) tellFull(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.loggedAt) < tellEvery {
		return
	}
	l.loggedAt = time.Now()
	l.log.Error("the broker's disk is full: what does not fit is not acknowledged", "message", message)
}

// abort is fail for callers without the lock.
func (d *disk) abort(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail(err)
}
