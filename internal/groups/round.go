package groups

import (
	"time"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// Round is what one look at a cluster saw. It is never changed.
type Round struct {
	// Started is when the round began, At when its last answer was there.
	Started, At time.Time
	// ClusterID is the cluster's id, "" where no broker answered.
	ClusterID string
	// Brokers are those of the cluster, by id; none where nobody could be asked.
	Brokers []Broker
	// Topics are those that were chosen and that the user may describe, by name.
	Topics []*Topic
	// Groups are those that were chosen and that the user may describe, by name.
	Groups []*Group
	// Failures are the requests that were not answered, or answered with an error.
	Failures []Failure
	// Forbidden is what the user has no right to see.
	Forbidden []Forbidden
	// LeftOut is what the limits left out.
	LeftOut LeftOut
	// Requests counts the requests by their name in the protocol.
	Requests map[string]int
}

// Took is how long the round took.
func (r *Round) Took() time.Duration { return r.At.Sub(r.Started) }

// Answering is how many brokers answered all that they were asked.
func (r *Round) Answering() (n int) {
	for _, b := range r.Brokers {
		if b.Why == "" {
			n++
		}
	}
	return n
}

// Group returns the group of that name, nil where there is none.
func (r *Round) Group(name string) *Group {
	for _, g := range r.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// Topic returns the topic of that name, nil where there is none.
func (r *Round) Topic(name string) *Topic {
	for _, t := range r.Topics {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// LeftOut is what the limits left out of a round.
type LeftOut struct {
	Topics, Partitions int
	Groups, Readings   int // groups of which only the name is shown, and what they read
	Ages               int // records that were not fetched in this round
}

// Failure is a request that was not answered, or answered with an error.
type Failure struct {
	Broker  int32 // -1 where no certain one was asked
	Request string
	Kind    Kind
	Text    string
}

// Forbidden is something that the user has no right to see of some topics.
type Forbidden struct {
	What   Part
	Topics []string // in order
}

// Part is something of a topic that takes a right of its own.
type Part string

// The parts.
const (
	PartTopic     Part = "topic"     // all of it, where members of groups name it: Describe
	PartAges      Part = "ages"      // the records' ages: Read
	PartRetention Part = "retention" // how long it keeps them: DescribeConfigs
)

func parts() []Part { return []Part{PartTopic, PartAges, PartRetention} }

func (f Failure) key() string { return string(f.Kind) + f.Request + string(f.Broker) }

// Broker is one broker.
type Broker struct {
	ID      int32
	Address string // host:port
	Rack    string
	// Why says why it gave no answer, "" where it did.
	Why string
}

// Topic is one topic.
type Topic struct {
	Name string
	// ID is the topic's id; zero where the brokers know none.
	ID         [16]byte
	Internal   bool
	Partitions []Partition // by id
	// Retention is what the topic keeps.
	Retention verdicts.Topic
}

// Partition is one partition of a topic, and what its log holds.
type Partition struct {
	ID               int32
	Leader           int32 // a broker's id; -1 where there is none
	Replicas, InSync []int32
	// Oldest is the log's first offset, Stable its last stable offset, End its high
	// watermark. Unknown where the leader did not answer.
	Oldest, Stable, End verdicts.Number
	// At is when the leader answered.
	At time.Time
	// Why says why the log is not known, "" where it is.
	Why string
}

// Types of groups.
const (
	Classic  = "classic"
	Consumer = "consumer" // KIP-848
	Share    = "share"    // KIP-932: it has no offsets to lag behind
	Streams  = "streams"  // KIP-1071
)

// Group is one group.
type Group struct {
	Name string
	// Type is one of the types above or another that a broker names; "" where it
	// is not known.
	Type string
	// State is the group's state as Kafka says it, "" where it is not known.
	State string
	// Protocol is what the members of a classic group speak: consumer, connect, …;
	// "" where offsets are committed without members.
	Protocol    string
	Coordinator int32
	// Members are known where MembersKnown says so.
	Members      []Member
	MembersKnown bool
	// Readings are the partitions that it reads, by topic and partition. A share
	// group has none.
	Readings []*Reading
	// LeftOut says that the limits left its readings out.
	LeftOut bool
	// Verdict is on the group as a whole.
	Verdict verdicts.Verdict
	// Why says why something of it is not known, "" where all is.
	Why string
}

// Member is one member of a group.
type Member struct {
	ID, Instance, Client, Host string
	// Assigned are the partitions that it owns.
	Assigned map[string][]int32
	// Topics are those that it subscribes to, as far as it names them.
	Topics []string
}

// String names the member for people.
func (m Member) String() string { return m.Client + " at " + m.Host }

// Case says of a reading what is particular about it.
type Case string

// The cases. Those that say why the lag is unknown have no lag.
const (
	// Plain: nothing is.
	Plain Case = ""
	// Purged: the log no longer has all that the group has not read. What was lost
	// is in Lost; the lag counts from the log's start.
	Purged Case = "purged"
	// Uncommitted: nothing was ever committed, as far as was seen. An empty log
	// leaves nothing to read; of others it is not known where the group begins.
	Uncommitted Case = "no_commit"
	// Expired: there was a commit, and there is none any more.
	Expired Case = "commit_expired"
	// Beyond: the commit lies behind the end of the log, which was truncated or is
	// another log.
	Beyond Case = "beyond_end"
	// Recreated: the commit was made to a topic of the same name that was deleted.
	Recreated Case = "recreated"
	// Unseen: the log or the commit could not be asked for.
	Unseen Case = "unseen"
)

// Reading is one partition that one group reads.
type Reading struct {
	verdicts.Place
	Case Case
	// Committed is the group's offset, none where there is no commit.
	Committed verdicts.Number
	// Lag is how many offsets the group has not processed, from the first data
	// record that it has not, where that is known, to where its reading ends.
	Lag verdicts.Number
	// Age is that of the first data record that the group has not processed, none
	// where nothing is left to process.
	Age verdicts.Span
	// Lost is how many offsets were deleted before the group read them.
	Lost verdicts.Number
	// Owner is the member that owns the partition, [verdicts.Nobody] for none, ""
	// where it is not known.
	Owner string
	// Verdict says how the group fares here.
	Verdict verdicts.Verdict
	// Why says why something is not known.
	Why string

	log   *Partition
	topic *Topic
	first int64 // the first data record that it has not processed, -1 where it is not known
}
