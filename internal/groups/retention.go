package groups

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// retentionInterval is how old the knowledge of topics' settings may be.
const retentionInterval = 5 * time.Minute

// Settings of topics.
const (
	settingRetention = "retention.ms"
	settingBytes     = "retention.bytes"
	settingCleanup   = "cleanup.policy"
)

const resourceTopic = kmsg.ConfigResourceTypeTopic

// retention asks how long topics keep records: now and then, for what is new at
// once. Who may not ask for settings does without.
func (s *survey) retention(ctx context.Context) {
	known := s.memory.retention
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, t := range s.round.Topics {
		if k, ok := known[t.Name]; ok && k.id == t.ID && s.round.Started.Before(k.until) {
			continue
		}
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = resourceTopic, t.Name
		resource.ConfigNames = []string{settingRetention, settingBytes, settingCleanup}
		request.Resources = append(request.Resources, resource)
	}
	if len(request.Resources) == 0 {
		return
	}
	answer, err := ask[*kmsg.DescribeConfigsResponse](ctx, s.asking, s.round.Brokers[0].ID, request)
	if err != nil {
		return
	}
	until := s.round.Started.Add(retentionInterval)
	for i := range answer.Resources {
		r := &answer.Resources[i]
		t := s.topics[r.ResourceName]
		if t == nil {
			continue
		}
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			s.once(ctx, "retention", t.Name, err)
			known[t.Name] = kept{id: t.ID, until: until, forbidden: kindOf(err) == KindAuthorization}
			continue
		}
		settings := map[string]string{}
		for _, c := range r.Configs {
			settings[c.Name] = name(c.Value)
		}
		known[t.Name] = kept{id: t.ID, topic: retentionOf(settings), until: until, compacted: strings.Contains(settings[settingCleanup], "compact")}
	}
}

// kept is what a topic keeps, until it is asked again.
type kept struct {
	id    [16]byte
	topic verdicts.Topic
	until time.Time
	// forbidden: the user has no right to ask.
	forbidden bool
	// compacted: records in the middle of its logs may go.
	compacted bool
}

// retentionOf reads a topic's settings. What is compacted and not deleted by age
// is kept for ever.
func retentionOf(settings map[string]string) verdicts.Topic {
	t := verdicts.Topic{}
	if policy, ok := settings[settingCleanup]; ok && !strings.Contains(policy, "delete") {
		return verdicts.Topic{Retention: verdicts.None[time.Duration](), RetentionBytes: verdicts.None[int64]()}
	}
	if ms, err := strconv.ParseInt(settings[settingRetention], 10, 64); err == nil {
		t.Retention = verdicts.None[time.Duration]()
		if ms >= 0 {
			t.Retention = verdicts.Known(time.Duration(min(ms, maxMillis)) * time.Millisecond)
		}
	}
	if n, err := strconv.ParseInt(settings[settingBytes], 10, 64); err == nil {
		t.RetentionBytes = verdicts.None[int64]()
		if n >= 0 {
			t.RetentionBytes = verdicts.Known(n)
		}
	}
	return t
}

// maxMillis is the longest time that a duration holds.
const maxMillis = int64(1<<63-1) / int64(time.Millisecond)
