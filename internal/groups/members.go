package groups

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// chunk is how many groups are asked about in one request.
	chunk = 500
	// offsetFetchKey is OffsetFetch's, offsetFetchMany its first version that takes
	// several groups, and offsetFetchNames its last that names topics.
	offsetFetchKey, offsetFetchMany, offsetFetchNames = 9, 8, 9
)

// found is a group as its coordinator tells of it.
type found struct {
	*Group
	commits map[string]map[int32]int64 // topic → partition → offset
	asked   bool                       // for its commits, with an answer
}

// members asks each broker for the groups that it coordinates, then for those
// groups' members and commits: a few requests, whatever the number of groups. A
// group that was there and whose coordinator does not answer is still there.
func (s *survey) members(ctx context.Context) {
	brokers := map[int32]*[]*found{}
	for _, b := range s.round.Brokers {
		brokers[b.ID] = &[]*found{}
	}
	eachBroker(brokers, func(broker int32, into *[]*found) { *into = s.coordinated(ctx, broker) })
	for _, b := range s.round.Brokers {
		for _, g := range *brokers[b.ID] {
			// One that moves may be told of by both.
			if known := s.groups[g.Name]; known == nil || !known.asked {
				s.groups[g.Name] = g
			}
		}
	}
	s.remember()
}

// coordinated returns the groups that a broker coordinates.
func (s *survey) coordinated(ctx context.Context, broker int32) []*found {
	answer, err := ask[*kmsg.ListGroupsResponse](ctx, s.asking, broker, kmsg.NewPtrListGroupsRequest())
	if err == nil {
		if err = kerr.ErrorForCode(answer.ErrorCode); err != nil {
			s.asking.fail(broker, "ListGroups", err)
			s.unlisted(broker)
		}
	} else {
		s.unlisted(broker)
	}
	if err != nil {
		return nil
	}
	var all []*found
	for _, g := range answer.Groups {
		if !s.cfg.Groups.Takes(g.Group) {
			continue
		}
		all = append(all, &found{Group: &Group{
			Name: g.Group, Type: cmp.Or(strings.ToLower(g.GroupType), Classic), State: g.GroupState, Protocol: g.ProtocolType, Coordinator: broker,
		}})
	}
	for some := range slices.Chunk(all, chunk) {
		byName := make(map[string]*found, len(some))
		for _, g := range some {
			byName[g.Name] = g
		}
		s.describeClassic(ctx, broker, byName)
		s.describeConsumer(ctx, broker, byName)
		s.commits(ctx, broker, some, byName)
	}
	return all
}

// namesOf returns the groups of a type.
func namesOf(groups map[string]*found, kind string) (names []string) {
	for name, g := range groups {
		if g.Type == kind {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *survey) describeClassic(ctx context.Context, broker int32, groups map[string]*found) {
	request := kmsg.NewPtrDescribeGroupsRequest()
	if request.Groups = namesOf(groups, Classic); len(request.Groups) == 0 {
		return
	}
	answer, err := ask[*kmsg.DescribeGroupsResponse](ctx, s.asking, broker, request)
	if err != nil {
		undescribed(groups, request.Groups, err)
		return
	}
	for _, of := range answer.Groups {
		g := s.described(broker, "DescribeGroups", groups[of.Group], of.ErrorCode)
		if g == nil {
			continue
		}
		g.State, g.Protocol, g.MembersKnown = of.State, of.ProtocolType, true
		for i := range of.Members {
			g.Members = append(g.Members, classicMember(of.ProtocolType, &of.Members[i]))
		}
	}
}

// described returns a group that was asked for and whose members are known; nil for
// any other.
func (s *survey) described(broker int32, request string, g *found, code int16) *found {
	err := kerr.ErrorForCode(code)
	if g == nil || err == nil {
		return g
	}
	s.asking.fail(broker, request, err)
	g.undescribed(err)
	return nil
}

// undescribed notes why the members of groups are not known.
func undescribed(groups map[string]*found, names []string, err error) {
	for _, name := range names {
		groups[name].undescribed(err)
	}
}

func (g *found) undescribed(err error) { g.Why = fmt.Sprintf("its members are not known: %v", err) }

// consumerProtocol is what members speak that read topics.
const consumerProtocol = "consumer"

// classicMember reads what a member says of itself, which only some protocols have
// brokers understand.
func classicMember(protocol string, of *kmsg.DescribeGroupsResponseGroupMember) Member {
	m := Member{ID: of.MemberID, Instance: name(of.InstanceID), Client: of.ClientID, Host: strings.TrimPrefix(of.ClientHost, "/")}
	if protocol != consumerProtocol {
		return m
	}
	var assigned kmsg.ConsumerMemberAssignment
	if len(of.MemberAssignment) > 0 && assigned.ReadFrom(of.MemberAssignment) == nil {
		m.Assigned = make(map[string][]int32, len(assigned.Topics))
		for _, t := range assigned.Topics {
			m.Assigned[t.Topic] = t.Partitions
		}
	}
	var subscribed kmsg.ConsumerMemberMetadata
	if len(of.ProtocolMetadata) > 0 && subscribed.ReadFrom(of.ProtocolMetadata) == nil {
		m.Topics = subscribed.Topics
	}
	return m
}

// describeConsumer asks for the members of KIP-848 groups.
func (s *survey) describeConsumer(ctx context.Context, broker int32, groups map[string]*found) {
	request := kmsg.NewPtrConsumerGroupDescribeRequest()
	if request.Groups = namesOf(groups, Consumer); len(request.Groups) == 0 {
		return
	}
	answer, err := ask[*kmsg.ConsumerGroupDescribeResponse](ctx, s.asking, broker, request)
	if err != nil {
		undescribed(groups, request.Groups, err)
		return
	}
	for _, of := range answer.Groups {
		g := s.described(broker, "ConsumerGroupDescribe", groups[of.Group], of.ErrorCode)
		if g == nil {
			continue
		}
		g.State, g.Protocol, g.MembersKnown = of.State, consumerProtocol, true
		for _, m := range of.Members {
			member := Member{
				ID: m.MemberID, Instance: name(m.InstanceID), Client: m.ClientID, Host: strings.TrimPrefix(m.ClientHost, "/"),
				Topics: m.SubscribedTopics, Assigned: make(map[string][]int32, len(m.Assignment.TopicPartitions)),
			}
			for _, t := range m.Assignment.TopicPartitions {
				member.Assigned[cmp.Or(t.Topic, s.ids[t.TopicID])] = t.Partitions
			}
			g.Members = append(g.Members, member)
		}
	}
}

// commits asks for what groups have committed: several groups in a request, or
// group by group where the broker is older than that (Kafka 3.0).
func (s *survey) commits(ctx context.Context, broker int32, groups []*found, byName map[string]*found) {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g *found) bool { return g.Type == Share })
	for len(groups) > 0 {
		request := kmsg.NewPtrOffsetFetchRequest()
		request.Group = groups[0].Name // for a broker that takes one group; nil topics are all
		for _, g := range groups {
			of := kmsg.NewOffsetFetchRequestGroup()
			of.Group = g.Name
			request.Groups = append(request.Groups, of)
		}
		answer, err := ask[*kmsg.OffsetFetchResponse](ctx, s.asking, broker, request)
		if err != nil {
			for _, g := range groups {
				g.Why = fmt.Sprintf("its commits are not known: %v", err)
			}
			return
		}
		if answer.Version < offsetFetchMany {
			s.commitsOfOne(broker, groups[0], answer)
			groups = groups[1:]
			continue
		}
		for i := range answer.Groups {
			if g := byName[answer.Groups[i].Group]; g != nil {
				s.commitsOf(broker, g, &answer.Groups[i])
			}
		}
		return
	}
}

// commitsOfOne brings an old broker's answer into the form of the others'.
func (s *survey) commitsOfOne(broker int32, g *found, answer *kmsg.OffsetFetchResponse) {
	of := kmsg.OffsetFetchResponseGroup{Group: g.Name, ErrorCode: answer.ErrorCode}
	for _, t := range answer.Topics {
		topic := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, ErrorCode: p.ErrorCode,
			})
		}
		of.Topics = append(of.Topics, topic)
	}
	s.commitsOf(broker, g, &of)
}

func (s *survey) commitsOf(broker int32, g *found, of *kmsg.OffsetFetchResponseGroup) {
	err := kerr.ErrorForCode(of.ErrorCode)
	if err == nil {
		g.asked, g.commits = true, make(map[string]map[int32]int64, len(of.Topics))
		for _, t := range of.Topics {
			all := make(map[int32]int64, len(t.Partitions))
			for _, p := range t.Partitions {
				if failed := kerr.ErrorForCode(p.ErrorCode); failed != nil {
					err = failed
				} else if p.Offset >= 0 {
					all[p.Partition] = p.Offset
				}
			}
			g.commits[t.Topic] = all
		}
	}
	if err != nil {
		g.asked = false
		g.Why = fmt.Sprintf("its commits are not known: %v", err)
		s.asking.fail(broker, "OffsetFetch", err)
	}
}
