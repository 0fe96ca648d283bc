package cli

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/doctor"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/services"
)

// lookAtKafka looks at the brokers for the doctor: what the topics are set to, how
// far the groups are, and what waits.
func lookAtKafka(ctx context.Context, c *cli.Command, registry services.Registry) (seen doctor.Kafka, err error) {
	cfg, err := kafkaConfig(c, "vigie-doctor", defaultBroker)
	if err != nil {
		return seen, err
	}
	seen.Where = strings.Join(cfg.Brokers, ",")
	cfg.Patience = c.Duration(flagTimeout)
	client, err := kafka.Connect(ctx, cfg)
	if errors.Is(err, kafka.ErrUnreachable) {
		return seen, &doctor.AwayError{Where: seen.Where, Err: unreachableBecause(err)}
	}
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if seen.Concerns, err = topicConcerns(ctx, client); err != nil || slices.ContainsFunc(seen.Concerns, isMissing) {
		seen.Unread = errNoTopic
		return seen, err
	}
	if err := lookAtGroups(ctx, client, registry.Consumers(), &seen); err != nil {
		return seen, err
	}
	limited, cancel := context.WithTimeout(ctx, c.Duration(flagTimeout))
	defer cancel()
	seen.Letters, seen.Unread = waitingLetters(limited, deadletters.Source{Log: kafka.Cluster{Config: cfg, Client: client}, Topics: client.Topics})
	return seen, nil
}

// missing is what is wrong with a topic that is not there.
const missing = "is not there"

func isMissing(c doctor.Concern) bool { return c.Text == missing }

// topicConcerns compares the topics' settings, as vigie topics would.
func topicConcerns(ctx context.Context, client *kafka.Client) (found []doctor.Concern, err error) {
	lacking, err := kafka.MissingTopics(client, banking.Topics())
	if err != nil {
		return nil, err
	}
	for _, t := range lacking {
		found = append(found, doctor.Concern{Topic: t.Name, Text: missing, Fix: "vigie topics"})
	}
	there := slices.DeleteFunc(banking.Topics(), func(t banking.Topic) bool {
		return slices.ContainsFunc(lacking, func(other banking.Topic) bool { return other.Name == t.Name })
	})
	concerns, err := kafka.CheckTopics(ctx, client, there)
	for _, concern := range concerns {
		found = append(found, doctor.Concern{Topic: concern.Topic, Text: concern.Text, Fix: concern.Fix})
	}
	return found, err
}

// unreachableBecause is what became of the last connection that was tried, where
// that is known.
func unreachableBecause(err error) error {
	if connection, ok := errors.AsType[*net.OpError](err); ok {
		return connection
	}
	return err
}

// lookAtGroups compares where the groups are with where the topics end, and with
// what was written a while ago.
func lookAtGroups(ctx context.Context, client *kafka.Client, consumers services.Registry, seen *doctor.Kafka) error {
	var topics []string
	for _, t := range banking.Topics() {
		topics = append(topics, t.Name)
	}
	spans, err := kafka.Bounds(ctx, client, topics...)
	if err != nil {
		return err
	}
	now := time.Now()
	recent, err := kafka.OffsetsAt(ctx, client, spans, now.Add(-doctor.LateAfter))
	if err != nil {
		return err
	}
	ahead, err := kafka.OffsetsAt(ctx, client, spans, now.Add(clockAhead))
	if err != nil {
		return err
	}
	for _, s := range spans {
		if at := ahead[s.Partition]; at < s.End {
			seen.Ahead = append(seen.Ahead, record.At(s.Topic, s.ID, at).String())
		}
	}
	members, err := kafka.Members(client, groupsOf(consumers)...)
	if err != nil {
		return err
	}
	for _, s := range consumers {
		g := doctor.Group{Name: s.Group, Service: s.Name, Members: members[s.Group]}
		for _, topic := range s.Consumes {
			at, err := kafka.Committed(client, s.Group, topic)
			if err != nil {
				return err
			}
			for _, span := range spans {
				if span.Topic != topic {
					continue
				}
				next := max(span.Start, at[span.Partition])
				g.Behind += max(0, span.End-next)
				g.Late += max(0, recent[span.Partition]-next)
			}
		}
		seen.Groups = append(seen.Groups, g)
	}
	return nil
}

// clockAhead is how far a record's time may be ahead of ours.
const clockAhead = 5 * time.Second

// waitingLetters are the dead letters that wait for somebody.
func waitingLetters(ctx context.Context, source deadletters.Source) (waiting doctor.Letters, err error) {
	listing, err := source.List(ctx, deadletters.Filter{Open: true}, nil)
	if err != nil || len(listing.Letters) == 0 {
		return waiting, errors.Join(err, listing.Unread)
	}
	oldest := slices.MinFunc(listing.Letters, func(a, b deadletters.Letter) int { return a.FailedAt.Compare(b.FailedAt) })
	return doctor.Letters{Waiting: len(listing.Letters), Reasons: byReason(listing.Letters), Oldest: oldest.FailedAt}, nil
}
