package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

// metadata queries a broker about the topics (all that it takes to see that the
// cluster answers, where there are none).
func metadata(client sarama.Client, topics []string) (*sarama.MetadataResponse, error) {
	broker := client.LeastLoadedBroker()
	if broker == nil {
		return nil, ErrUnreachable
	}
	return metadataOf(broker, client, topics)
}

func metadataOf(broker *sarama.Broker, client sarama.Client, topics []string) (*sarama.MetadataResponse, error) {
	if err := broker.Open(client.Config()); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
		return nil, fmt.Errorf("open broker %s: %w", broker.Addr(), err)
	}
	request := sarama.NewMetadataRequest(client.Config().Version, topics)
	response, err := broker.GetMetadata(request)
	if err != nil {
		// sarama's broker does not repair a connection that failed; closed,
		// it is opened again by the next call.
		_ = broker.Close()
		return nil, fmt.Errorf("query broker %s: %w", broker.Addr(), err)
	}
	return response, nil
}

// Identities returns what distinguishes this cluster and these topics from
// others of the same names: the cluster's id under "cluster", each topic's id
// under "topic NAME". Ids that a broker does not give are left out.
func Identities(ctx context.Context, client *Client, topics []string) (ids map[string]string, err error) {
	err = client.cfg.patiently(ctx, func() error {
		response, err := metadata(client, topics)
		if err == nil {
			ids = identities(response)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("identify cluster: %w", err)
	}
	return ids, nil
}

func identities(response *sarama.MetadataResponse) map[string]string {
	ids := map[string]string{}
	if response.ClusterID != nil && *response.ClusterID != "" {
		ids["cluster"] = *response.ClusterID
	}
	for _, t := range response.Topics {
		if t.Err == sarama.ErrNoError && t.Uuid != (sarama.Uuid{}) {
			ids[TopicIdentity(t.Name)] = t.Uuid.String()
		}
	}
	return ids
}

// TopicIdentity is the name of a topic's id among those that [Identities] returns.
func TopicIdentity(topic string) string { return "topic " + topic }

// ErrReplaced: under the names of a service's topics there are others by now.
// Its positions say nothing about them.
var ErrReplaced = errors.New("not the topics that the service began with")

// Identity watches that a service's topics, and their cluster, stay those that
// it began with: one that is deleted and created again has the same name, and
// clients go on reading it in the middle. It is safe for concurrent use. A nil
// Identity confirms everything.
type Identity struct {
	client *Client
	topics []string
	known  map[string]string // as [Identities] returns them

	mu    sync.Mutex
	stamp string          // the same, and what the service says besides, as a group's offsets have it
	polls map[int32]*poll // by broker
}

// NewIdentity makes an Identity of what [Identities] has returned for the topics.
func NewIdentity(client *Client, topics []string, known map[string]string) *Identity {
	return &Identity{client: client, topics: topics, known: known, stamp: stampOf(known), polls: map[int32]*poll{}}
}

func stampOf(says map[string]string) string {
	text, _ := json.Marshal(says) // strings always can be
	return stampPrefix + string(text)
}

// stampPrefix begins what a group's offsets say of topics. Others may commit offsets
// with a text of their own.
const stampPrefix = "vigie topics "

// IsOurs says whether the text of a group's offset is one of [Identity.Stamp]: whoever
// joins a group, or moves it with a tool, commits offsets too, which say nothing of what a
// service has done.
func IsOurs(metadata string) bool { return strings.HasPrefix(metadata, stampPrefix) }

// Stamp says which topics a service began with, to be committed with its group's
// offsets: a storage that is lost has taken its own stamp with it.
func (i *Identity) Stamp() string {
	if i == nil {
		return ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stamp
}

// Say adds what the service knows under a name to [Identity.Stamp], for one whose storage
// is lost: short, since brokers take 4 KB of text by default.
func (i *Identity) Say(name, text string) {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	says := maps.Clone(i.known)
	says[name] = text
	i.stamp = stampOf(says)
}

// Began is what a group's offsets say of the time when they were committed.
type Began struct {
	// Now is what distinguishes the topics, as [Identities] returns it, and Others are
	// those that were others then.
	Now    map[string]string
	Others []string
	// Said is all that the service said with each of them.
	Said []map[string]string
	// Committed are the offsets that the service itself has committed, and so has come to.
	Committed map[record.Partition]int64
}

// Began reads what a group's offsets of some topics say.
func (i *Identity) Began(ctx context.Context, group string, committed ...string) (b Began, err error) {
	err = i.client.cfg.patiently(ctx, func() error {
		commits, err := commitsOf(i.client, group, committed...)
		b = i.Nothing()
		for topic, partitions := range commits {
			for id, block := range partitions {
				i.Read(&b, record.Partition{Topic: topic, ID: id}, block.Offset, block.Metadata)
			}
		}
		return err
	})
	if err != nil {
		return Began{}, fmt.Errorf("look what %s began with: %w", group, err)
	}
	return b, nil
}

// Nothing is what a group says that has committed nothing.
func (i *Identity) Nothing() Began {
	return Began{Now: i.known, Committed: map[record.Partition]int64{}}
}

// rewoundText is the name under which [Rewind] says that an offset is its own.
const rewoundText = "rewound"

// Rewound is what an offset says once [Rewind] has moved it: the same, and that nobody has
// come to it.
func Rewound(metadata string) string {
	text, _ := strings.CutPrefix(metadata, stampPrefix)
	said := map[string]string{}
	if json.Unmarshal([]byte(text), &said) != nil {
		return metadata
	}
	said[rewoundText] = "yes"
	return stampOf(said)
}

// Read adds what one offset of a group says, unless it is somebody else's.
func (i *Identity) Read(b *Began, p record.Partition, offset int64, metadata string) {
	var said map[string]string
	text, ours := strings.CutPrefix(metadata, stampPrefix)
	if !ours || offset < 0 || json.Unmarshal([]byte(text), &said) != nil {
		return
	}
	if said[rewoundText] == "" {
		b.Committed[p] = offset
	}
	b.Said = append(b.Said, said)
	for _, name := range i.topics {
		was, now := said[TopicIdentity(name)], i.known[TopicIdentity(name)]
		if was != "" && now != "" && was != now && !slices.Contains(b.Others, name) {
			b.Others = append(b.Others, name)
		}
	}
}

// Check asks any broker now. It returns [ErrReplaced] for good, and other errors
// where a broker or a topic is away.
func (i *Identity) Check() error {
	if i == nil {
		return nil
	}
	_, err := i.look()
	return err
}

// look is Check, and returns what the broker says of the topics.
func (i *Identity) look() (*sarama.MetadataResponse, error) {
	response, err := metadata(i.client, i.topics)
	if err != nil {
		return nil, err
	}
	return response, i.compare(response)
}

// Confirm is [Identity.Check] of the broker that leads a partition. Where it
// returns nil, records that were received before the call are of the topics that
// the service began with: ids do not come back. Calls at the same time share a
// request that began after them.
func (i *Identity) Confirm(p record.Partition) error {
	if i == nil {
		return nil
	}
	leader, err := i.client.Leader(p.Topic, p.ID)
	if err != nil {
		return fmt.Errorf("find the leader of %s: %w", p, err)
	}
	i.mu.Lock()
	shared := i.polls[leader.ID()]
	if shared == nil {
		shared = &poll{}
		i.polls[leader.ID()] = shared
	}
	i.mu.Unlock()
	return shared.do(func() error {
		response, err := metadataOf(leader, i.client, i.topics)
		if err != nil {
			return err
		}
		return i.compare(response)
	})
}

func (i *Identity) compare(now *sarama.MetadataResponse) error {
	ids := identities(now)
	for _, name := range slices.Sorted(maps.Keys(i.known)) {
		if id, ok := ids[name]; ok && id != i.known[name] {
			return fmt.Errorf("%w: %s is another (id %s, was %s): it was deleted and created again", ErrReplaced, name, id, i.known[name])
		}
	}
	for _, t := range now.Topics {
		if !errors.Is(t.Err, sarama.ErrNoError) {
			return fmt.Errorf("topic %s: %w", t.Name, t.Err)
		}
	}
	return nil
}

// poll makes one request for all who wait for one that begins after they came.
type poll struct {
	came atomic.Int64
	mu   sync.Mutex
	seen int64 // those who had come when the last request began
	err  error // its result
}

func (p *poll) do(request func() error) error {
	ticket := p.came.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen < ticket {
		p.seen = p.came.Load()
		p.err = request()
	}
	return p.err
}

// Health knows whether the cluster answers and has the service's topics, by a
// request on a timer: a check reads memory and never waits for a broker that
// is away.
type Health struct {
	identity *Identity
	interval time.Duration
	inSync   map[string]int // as [InSync] returns it
	last     atomic.Pointer[error]
}

// NewHealth makes a Health for a client that has just answered. Of the topics that
// inSync names, each partition has to have so many in-sync replicas.
func NewHealth(identity *Identity, interval time.Duration, inSync map[string]int) *Health {
	return &Health{identity: identity, interval: interval, inSync: inSync}
}

// ErrShort: a partition has fewer in-sync replicas than it takes to write to it.
var ErrShort = errors.New("too few in-sync replicas to write")

// short looks for partitions that take no writes.
func (h *Health) short(now *sarama.MetadataResponse) error {
	for _, t := range now.Topics {
		for _, p := range t.Partitions {
			if has, needs := len(p.Isr), h.inSync[t.Name]; has < needs {
				return fmt.Errorf("%w: partition %d of %s has %d of %d", ErrShort, p.ID, t.Name, has, needs)
			}
		}
	}
	return nil
}

// Run checks until ctx ends, or until the topics have been replaced, which is
// [ErrReplaced].
func (h *Health) Run(ctx context.Context) error {
	return lifecycle.Every(ctx, h.interval, func(context.Context) error {
		now, err := h.identity.look()
		if err == nil {
			err = h.short(now)
		}
		h.last.Store(&err)
		if errors.Is(err, ErrReplaced) {
			return err
		}
		return nil
	})
}

// Check returns the last answer.
func (h *Health) Check(context.Context) error {
	err := h.last.Load()
	switch {
	case err == nil || *err == nil:
		return nil
	case errors.Is(*err, ErrReplaced), errors.Is(*err, ErrShort):
		return *err
	default:
		return fmt.Errorf("broker does not answer: %w", *err)
	}
}
