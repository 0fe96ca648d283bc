package groups

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// metadata asks which brokers, topics and partitions there are.
func (s *survey) metadata(ctx context.Context) error {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false // and nil Topics asks for all
	answer, err := ask[*kmsg.MetadataResponse](ctx, s.asking, anyBroker, request)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		s.asking.fail(anyBroker, "Metadata", err)
		return err
	}
	if answer.ClusterID != nil {
		s.round.ClusterID = *answer.ClusterID
	}
	for _, b := range answer.Brokers {
		broker := Broker{ID: b.NodeID, Address: net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))}
		if b.Rack != nil {
			broker.Rack = *b.Rack
		}
		s.round.Brokers = append(s.round.Brokers, broker)
	}
	slices.SortFunc(s.round.Brokers, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(answer.Topics, func(a, b kmsg.MetadataResponseTopic) int { return cmp.Compare(name(a.Topic), name(b.Topic)) })
	for i := range answer.Topics {
		s.addTopic(&answer.Topics[i])
	}
	return nil
}

func name(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// addTopic takes a topic into the round where it is chosen and there is room.
func (s *survey) addTopic(of *kmsg.MetadataResponseTopic) {
	if of.Topic == nil || !s.cfg.Topics.Takes(*of.Topic) {
		return
	}
	if err := kerr.ErrorForCode(of.ErrorCode); err != nil && len(of.Partitions) == 0 {
		s.asking.fail(anyBroker, "Metadata", fmt.Errorf("topic %s: %w", *of.Topic, err))
		return
	}
	if s.partitions+len(of.Partitions) > s.cfg.Limits.Partitions {
		s.round.LeftOut.Topics++
		s.round.LeftOut.Partitions += len(of.Partitions)
		return
	}
	s.partitions += len(of.Partitions)
	t := &Topic{Name: *of.Topic, ID: of.TopicID, Internal: of.IsInternal, Partitions: make([]Partition, len(of.Partitions))}
	slices.SortFunc(of.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	for i, p := range of.Partitions {
		t.Partitions[i] = Partition{ID: p.Partition, Leader: p.Leader, Replicas: p.Replicas, InSync: p.ISR, Why: "its leader has not been asked"}
		if p.Leader < 0 {
			t.Partitions[i].Why = "it has no leader"
		}
	}
	s.round.Topics = append(s.round.Topics, t)
	s.topics[t.Name], s.ids[t.ID] = t, t.Name
}

// maxHidden bounds the topics that are asked for by name, which groups name.
const maxHidden = 100

// unseen asks for topics that members of groups name and that are not among all that there are: those
// that the user may not describe are not. Others are gone.
func (s *survey) unseen(ctx context.Context) {
	named := map[string]bool{}
	for _, g := range s.groups {
		for _, m := range g.Members {
			for topic := range m.Assigned {
				named[topic] = true
			}
			for _, topic := range m.Topics {
				named[topic] = true
			}
		}
	}
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	for _, topic := range slices.Sorted(maps.Keys(named)) {
		if s.topics[topic] == nil && topic != "" && s.cfg.Topics.Takes(topic) && len(request.Topics) < maxHidden {
			of := kmsg.NewMetadataRequestTopic()
			of.Topic = &topic
			request.Topics = append(request.Topics, of)
		}
	}
	if len(request.Topics) == 0 || s.round.LeftOut.Topics > 0 {
		return
	}
	answer, err := ask[*kmsg.MetadataResponse](ctx, s.asking, anyBroker, request)
	if err != nil {
		return
	}
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && kindOf(err) == KindAuthorization {
			s.hidden = append(s.hidden, name(t.Topic))
			s.once(ctx, "topics", name(t.Topic), err)
		}
	}
	slices.Sort(s.hidden)
}

// led are the partitions that one broker leads, as a request asks for them.
type led struct {
	topics []kmsg.ListOffsetsRequestTopic
	all    []*Partition
}

// Timestamps that ask for an end of the log, in ListOffsets.
const (
	latest   = -1
	earliest = -2
)

// Isolation levels of requests.
const (
	uncommitted int8 = 0
	committed   int8 = 1
)

// logs asks the leaders where their logs start and end, each with three requests,
// whatever the number of partitions: the protocol takes a partition once in each.
// Committed offsets have been asked for before, so a reader that moves is not seen
// beyond the end.
func (s *survey) logs(ctx context.Context) {
	leaders := map[int32]*led{}
	for _, t := range s.round.Topics {
		for i := range t.Partitions {
			if p := &t.Partitions[i]; p.Leader >= 0 {
				addLed(leaders, t.Name, p)
			}
		}
	}
	eachBroker(leaders, func(broker int32, l *led) {
		for _, q := range []struct {
			timestamp int64
			isolation int8
			set       func(*Partition, int64)
		}{
			{earliest, uncommitted, func(p *Partition, at int64) { p.Oldest = verdicts.Known(at) }},
			{latest, committed, func(p *Partition, at int64) { p.Stable = verdicts.Known(at) }},
			{latest, uncommitted, func(p *Partition, at int64) { p.End = verdicts.Known(at) }},
		} {
			if err := s.offsets(ctx, broker, l, q.timestamp, q.isolation, q.set); err != nil {
				l.give(fmt.Sprintf("broker %d, its leader, does not answer: %v", broker, err))
				return
			}
		}
		l.complete(s.cfg.Now())
	})
}

func addLed(leaders map[int32]*led, topic string, p *Partition) {
	l := leaders[p.Leader]
	if l == nil {
		l = &led{}
		leaders[p.Leader] = l
	}
	if n := len(l.topics); n == 0 || l.topics[n-1].Topic != topic {
		of := kmsg.NewListOffsetsRequestTopic()
		of.Topic = topic
		l.topics = append(l.topics, of)
	}
	one := kmsg.NewListOffsetsRequestTopicPartition()
	one.Partition = p.ID
	of := &l.topics[len(l.topics)-1]
	of.Partitions = append(of.Partitions, one)
	l.all = append(l.all, p)
	p.Why = ""
}

// give takes back what is known of partitions whose leader stopped answering: half
// a log is of no use.
func (l *led) give(why string) {
	for _, p := range l.all {
		p.Oldest, p.Stable, p.End, p.Why = verdicts.Number{}, verdicts.Number{}, verdicts.Number{}, why
	}
}

// complete notes when the logs were seen. Of a partition of which something is
// missing nothing is known.
func (l *led) complete(at time.Time) {
	for _, p := range l.all {
		p.At = at
		if p.Why == "" && (p.Oldest.IsZero() || p.Stable.IsZero() || p.End.IsZero()) {
			p.Why = "its leader left it out"
		}
		if p.Why != "" {
			p.Oldest, p.Stable, p.End = verdicts.Number{}, verdicts.Number{}, verdicts.Number{}
		}
	}
}

// offsets asks one leader for one offset of each of its partitions.
func (s *survey) offsets(ctx context.Context, broker int32, l *led, timestamp int64, isolation int8, set func(*Partition, int64)) error {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.IsolationLevel, request.Topics = -1, isolation, l.topics
	for _, t := range l.topics {
		for i := range t.Partitions {
			t.Partitions[i].Timestamp = timestamp
		}
	}
	answer, err := ask[*kmsg.ListOffsetsResponse](ctx, s.asking, broker, request)
	if err != nil {
		return err
	}
	for _, t := range answer.Topics {
		of := s.topics[t.Topic]
		if of == nil {
			continue
		}
		for _, a := range t.Partitions {
			p := of.partition(a.Partition)
			if p == nil || p.Leader != broker {
				continue
			}
			if err := kerr.ErrorForCode(a.ErrorCode); err != nil {
				p.Why = fmt.Sprintf("its leader says: %v", err)
				s.asking.fail(broker, "ListOffsets", err)
				continue
			}
			set(p, a.Offset)
		}
	}
	return nil
}

// partition finds a partition, nil where there is none. Of the others it looks at
// the ids alone: their leaders may be answering at the same time.
func (t *Topic) partition(id int32) *Partition {
	i := sort.Search(len(t.Partitions), func(i int) bool { return t.Partitions[i].ID >= id })
	if i == len(t.Partitions) || t.Partitions[i].ID != id {
		return nil
	}
	return &t.Partitions[i]
}
