package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Class says what becomes of a record that could not simply be processed.
type Class int

// The classes, from harmless to final.
const (
	// ClassRetry: Kafka or storage is away. Wait, keep the offset, try again.
	ClassRetry Class = iota
	// ClassDuplicate: the record has been processed before. Nothing changes.
	ClassDuplicate
	// ClassTransient: something this record needs failed. Try a few times,
	// then set it aside among the dead letters.
	ClassTransient
	// ClassReject: no try can help. Set it aside at once.
	ClassReject
)

// Reason is a bounded word for metrics that says why a record failed.
type Reason string

// The closed set of reasons.
const (
	ReasonMalformed     Reason = "malformed"     // not what its type promises
	ReasonContradictory Reason = "contradictory" // says other than an earlier record
	ReasonOversized     Reason = "oversized"     // larger than the contract allows
	ReasonOutOfRange    Reason = "out_of_range"  // holds what the database cannot
	ReasonAuthoriser    Reason = "authoriser"    // the authoriser failed
	ReasonTooOld        Reason = "too_old"       // older than what the ledger can know of
)

// Reasons returns the closed set.
func Reasons() []string {
	return []string{
		string(ReasonMalformed), string(ReasonContradictory), string(ReasonOversized), string(ReasonOutOfRange), string(ReasonAuthoriser), string(ReasonTooOld),
	}
}

// Failure is an error with its class, decided once where it arises.
type Failure struct {
	Class  Class
	Reason Reason
	Err    error
}

// Error names the reason and the cause.
func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Reason, f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// ErrorType is the span attribute error.type: the reason, which is bounded.
func (f *Failure) ErrorType() string { return string(f.Reason) }

// ErrDuplicate says that the record has been processed before.
var ErrDuplicate = errors.New("processed before")

// Reject makes a failure that no other try can change.
func Reject(reason Reason, err error) error { return &Failure{ClassReject, reason, err} }

// Transient makes a failure that another try may not meet.
func Transient(reason Reason, err error) error { return &Failure{ClassTransient, reason, err} }

// ClassOf returns an error's class. What nobody classified is the
// surroundings' fault, not the record's: it is retried and nothing is lost.
func ClassOf(err error) Class {
	if errors.Is(err, ErrDuplicate) {
		return ClassDuplicate
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Class
	}
	return ClassRetry
}

func reasonOf(err error) Reason {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Reason
	}
	return ""
}

// consequence is what a class means: the table that the loop follows.
type consequence struct {
	name string
	// tries is how often the handler sees the record before the offset moves
	// past it; 0: as often as it takes, the offset stays.
	tries      int
	deadLetter bool
	// duplicate has the record counted as a duplicate instead of a failure.
	duplicate bool
	level     slog.Level
	spanFails bool
}

// consequences is the one place where classes get their meaning.
func (c Class) consequences() consequence {
	switch c {
	case ClassDuplicate:
		return consequence{name: "duplicate", tries: 1, duplicate: true, level: slog.LevelDebug}
	case ClassTransient:
		return consequence{name: "transient", tries: 3, deadLetter: true, level: slog.LevelWarn, spanFails: true}
	case ClassReject:
		return consequence{name: "reject", tries: 1, deadLetter: true, level: slog.LevelWarn, spanFails: true}
	default:
		return consequence{name: "retry", level: slog.LevelWarn, spanFails: true}
	}
}

// setAside makes the dead letter of a record that failed for good: the
// original key, value and headers, and, before them, its origin.
func (l *Loop[State, Change]) setAside(r record.Record, err error) []record.Message {
	topic := l.cfg.DeadLetters(r.Topic)
	if !ClassOf(err).consequences().deadLetter || topic == "" {
		return nil
	}
	return []record.Message{Letter(topic, l.cfg.Group, r, err)}
}

// Letter is the dead letter, on a topic, of a record that a group took and that
// another contradicts which it takes now. A handler publishes it with that one;
// the loop counts it as it counts those that it makes itself.
func Letter(topic, group string, r record.Record, err error) record.Message {
	c := ClassOf(err).consequences()
	origin := record.Origin{
		Place: r.Place, EventID: r.Header(record.HeaderEventID), Group: group, Attempts: c.tries,
		Class: c.name, Reason: string(reasonOf(err)), Message: err.Error(), FailedAt: time.Now(),
	}
	return record.Message{Topic: topic, Key: r.Key, Value: r.Value, Headers: slices.Concat(origin.Headers(), r.Headers)}
}

func (l *Loop[State, Change]) fitTo(ctx context.Context, letter record.Message, size int) (record.Message, bool) {
	cut, err := record.Fit(letter, size)
	if errors.Is(err, record.ErrNoRoom) {
		origin, _, _ := record.ParseOrigin(record.Record{Headers: letter.Headers})
		l.deps.Log.ErrorContext(ctx, "a dead letter has no room in its topic and is left out: raise its max.message.bytes with `vigie topics`",
			"topic", letter.Topic, "bytes", size, "record", origin.Place.String())
		return letter, false
	}
	return cut, true
}

// send publishes messages. Where Kafka finds some too large, or a batch that the
// client made of them, each is sent alone, and dead letters are cut until they
// fit: their topic may take less than it did when they were stored.
func (l *Loop[State, Change]) send(ctx context.Context, messages []record.Message) error {
	records := make([]*sarama.ProducerMessage, len(messages))
	for i, m := range messages {
		records[i] = kafka.Outgoing(m)
	}
	err := l.deps.Publisher.PublishAll(ctx, records)
	refused, ok := errors.AsType[*kafka.TooLargeError](err)
	if !ok {
		return err
	}
	for _, i := range refused.Records {
		if err := l.sendAlone(ctx, messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop[State, Change]) sendAlone(ctx context.Context, m record.Message) error {
	for {
		err := l.deps.Publisher.PublishAll(ctx, []*sarama.ProducerMessage{kafka.Outgoing(m)})
		if !errors.Is(err, kafka.ErrTooLarge) {
			return err
		}
		letter, ok := l.fitTo(ctx, m, l.deps.Sizes.Refused(m.Topic, m.Size()))
		if !ok {
			return nil
		}
		if letter.Size() == m.Size() { // no letter: what was decided cannot be left out
			return fmt.Errorf("%s takes no record of %d bytes; raise its max.message.bytes with `vigie topics`: %w", m.Topic, m.Size(), err)
		}
		m = letter
	}
}
