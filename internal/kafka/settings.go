package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
)

// Names of the topics' settings that the promise hangs on.
const (
	settingSize      = "max.message.bytes"
	settingRetention = "retention.ms"
	settingBytes     = "retention.bytes"
	settingCleanup   = "cleanup.policy"
	settingInSync    = "min.insync.replicas"
)

// Concern is a topic's setting with which the system does not keep its promise
// in full.
type Concern struct {
	Topic string
	Text  string // what is so, and what follows
	Fix   string // the command that changes it
	// change are the settings that [AlignTopics] sets.
	change map[string]string
}

const fixTopics = "vigie topics"

// CheckTopics compares the settings of topics with what the system needs.
// Topics that do not exist are left out.
func CheckTopics(ctx context.Context, client *Client, topics []banking.Topic) (concerns []Concern, err error) {
	err = client.cfg.patiently(ctx, func() error {
		concerns = nil
		admin, err := sarama.NewClusterAdminFromClient(client.Client) // not closed: the client is the caller's
		if err != nil {
			return err
		}
		described, err := admin.DescribeTopics(names(topics))
		if err != nil {
			return err
		}
		brokers, _, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		for _, t := range topics {
			i := slices.IndexFunc(described, func(d *sarama.TopicMetadata) bool { return d.Name == t.Name })
			if i < 0 || !errors.Is(described[i].Err, sarama.ErrNoError) {
				continue
			}
			settings, err := describe(admin, t.Name)
			if err != nil {
				return err
			}
			concerns = append(concerns, replication(described[i], settings, len(brokers))...)
			concerns = append(concerns, compare(t, settings)...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("compare the topics' settings: %w", err)
	}
	return concerns, nil
}

// describe returns a topic's settings, its cluster's defaults included.
func describe(admin sarama.ClusterAdmin, topic string) (map[string]string, error) {
	described, err := admin.DescribeConfigs([]*sarama.ConfigResource{{
		Type: sarama.TopicResource, Name: topic,
		ConfigNames: []string{settingSize, settingRetention, settingBytes, settingCleanup, settingInSync},
	}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", topic, err)
	}
	settings := map[string]string{}
	for _, d := range described {
		if d.ErrorCode != sarama.ErrNoError {
			return nil, fmt.Errorf("settings of %s: %w", topic, d.ErrorCode)
		}
		for _, e := range d.Configs {
			settings[e.Name] = e.Value
		}
	}
	return settings, nil
}

// InSync returns how many in-sync replicas each of the topics needs to take writes
// that all of them acknowledge (min.insync.replicas).
func InSync(ctx context.Context, client *Client, topics []string) (least map[string]int, err error) {
	least = map[string]int{}
	err = client.cfg.patiently(ctx, func() error {
		admin, err := sarama.NewClusterAdminFromClient(client.Client)
		if err != nil {
			return err
		}
		for _, topic := range topics {
			settings, err := describe(admin, topic)
			if err != nil {
				return err
			}
			least[topic], _ = strconv.Atoi(settings[settingInSync]) // 0 where it is not told
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read how many replicas the topics need: %w", err)
	}
	return least, nil
}

// compare finds what [AlignTopics] can set, and what only an operator should.
func compare(want banking.Topic, settings map[string]string) (out []Concern) {
	number := func(name string) (int64, bool) {
		n, err := strconv.ParseInt(settings[name], 10, 64)
		return n, err == nil
	}
	if kept, known := number(settingRetention); known && kept >= 0 && kept < want.Retention.Milliseconds() {
		out = append(out, Concern{
			want.Name, fmt.Sprintf("it keeps records for %v, less than the %v that are needed", time.Duration(kept)*time.Millisecond, want.Retention),
			fixTopics, map[string]string{settingRetention: strconv.FormatInt(want.Retention.Milliseconds(), 10)},
		})
	}
	if size, known := number(settingSize); known && size < MaxRecordBytes {
		out = append(out, Concern{
			want.Name, fmt.Sprintf("it takes %d bytes at a time, less than the %d that are needed: large dead letters are cut", size, MaxRecordBytes),
			fixTopics, map[string]string{settingSize: strconv.Itoa(MaxRecordBytes)},
		})
	}
	if size, known := number(settingBytes); known && size >= 0 {
		out = append(out, Concern{
			Topic: want.Name, Text: fmt.Sprintf("it deletes records beyond %d bytes, whatever their age", size),
			Fix: alter(want.Name, "--delete-config", settingBytes),
		})
	}
	if policy, known := settings[settingCleanup]; known && policy != "delete" {
		out = append(out, Concern{
			Topic: want.Name, Text: fmt.Sprintf("its %s is %s: records of one order replace each other", settingCleanup, policy),
			Fix: alter(want.Name, "--add-config", settingCleanup+"=delete"),
		})
	}
	return out
}

// replication judges what one broker's loss does, where there are several.
func replication(topic *sarama.TopicMetadata, settings map[string]string, brokers int) []Concern {
	if brokers < 2 || len(topic.Partitions) == 0 {
		return nil
	}
	replicas := len(topic.Partitions[0].Replicas)
	for _, p := range topic.Partitions {
		replicas = min(replicas, len(p.Replicas))
	}
	inSync, _ := strconv.Atoi(settings[settingInSync])
	switch {
	case replicas < min(brokers, 3):
		return []Concern{{
			Topic: topic.Name, Text: fmt.Sprintf("it has %d replicas on %d brokers: what they hold is lost with them", replicas, brokers),
			Fix: "kafka-reassign-partitions.sh --execute with a plan of 3 replicas",
		}}
	case inSync < 2:
		return []Concern{{
			Topic: topic.Name, Text: fmt.Sprintf("its %s is %d: what one broker alone has acknowledged is lost with it", settingInSync, inSync),
			Fix: alter(topic.Name, "--add-config", settingInSync+"=2"),
		}}
	case inSync >= replicas:
		return []Concern{{
			Topic: topic.Name, Text: fmt.Sprintf("its %s is %d of %d replicas: nothing is written while one broker is away", settingInSync, inSync, replicas),
			Fix: alter(topic.Name, "--add-config", settingInSync+"="+strconv.Itoa(replicas-1)),
		}}
	default:
		return nil
	}
}

func alter(topic, how, what string) string {
	return fmt.Sprintf("kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name %s %s %s", topic, how, what)
}

// AlignTopics sets what [CheckTopics] finds and a command of ours may change:
// it makes retentions longer and sizes larger, never the other way. It returns
// what it has changed.
func AlignTopics(ctx context.Context, client *Client, topics []banking.Topic) (changed []Concern, err error) {
	concerns, err := CheckTopics(ctx, client, topics)
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client.Client)
	if err != nil {
		return nil, fmt.Errorf("set the topics' settings: %w", err)
	}
	for _, c := range concerns {
		if len(c.change) == 0 {
			continue
		}
		entries := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, value := range c.change {
			entries[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
		}
		if err := client.cfg.patiently(ctx, func() error {
			return admin.IncrementalAlterConfig(sarama.TopicResource, c.Topic, entries, false)
		}); err != nil {
			return changed, fmt.Errorf("set the settings of %s: %w", c.Topic, err)
		}
		changed = append(changed, c)
	}
	return changed, nil
}

// Changes are the settings that were set, NAME=VALUE.
func (c Concern) Changes() (out []string) {
	for name, value := range c.change {
		out = append(out, name+"="+value)
	}
	return out
}

// Sizes knows how large a record each topic takes. It is safe for concurrent use;
// a nil Sizes takes every topic for one of ours.
type Sizes struct {
	client *Client
	mu     sync.Mutex
	of     map[string]int
}

// NewSizes makes a Sizes of the client's cluster.
func NewSizes(client *Client) *Sizes { return &Sizes{client: client, of: map[string]int{}} }

// Of returns how many bytes the topic takes, at most [MaxRecordBytes]. It asks once.
func (s *Sizes) Of(topic string) int {
	if s == nil {
		return MaxRecordBytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.of[topic]; !known {
		size, err := s.ask(topic)
		if err != nil {
			return MaxRecordBytes // what is too large is refused, and Refused then asks again
		}
		s.of[topic] = size
	}
	return s.of[topic]
}

// Refused returns what the topic takes after it has refused so many bytes: what
// its setting says now, or half of it where that does not tell.
func (s *Sizes) Refused(topic string, bytes int) int {
	if s == nil {
		return bytes / 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size, err := s.ask(topic)
	if err != nil || size >= bytes {
		size = bytes / 2
	}
	s.of[topic] = size
	return size
}

func (s *Sizes) ask(topic string) (int, error) {
	admin, err := sarama.NewClusterAdminFromClient(s.client.Client)
	if err != nil {
		return 0, err
	}
	settings, err := describe(admin, topic)
	if err != nil {
		return 0, err
	}
	size, err := strconv.Atoi(settings[settingSize])
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", settingSize, topic, err)
	}
	return min(size, MaxRecordBytes), nil
}
