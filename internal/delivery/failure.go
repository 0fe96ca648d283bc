package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/retry"
	"github.com/vigie-dev/vigie/internal/storage"
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

// logOf names a record that failed, the order that it is about, and how to see
// the order's letter where the record becomes one.
func (l *Loop[State, Change]) logOf(r record.Record, err error, try int) *slog.Logger {
	c := ClassOf(err).consequences()
	log := l.deps.Log.With("topic", r.Topic, "partition", r.ID, "offset", r.Offset, "class", c.name, "try", try, "error", err)
	if !readable(r.Key) {
		return log
	}
	log = log.With("order_id", string(r.Key))
	if c.deadLetter && try == c.tries {
		log = log.With("letter", "vigie dlq list --order "+string(r.Key))
	}
	return log
}

// readable says whether a key reads like an order's id, and can be typed as one.
func readable(key []byte) bool {
	odd := func(r rune) bool {
		return !strings.ContainsRune("-._", r) && (r > unicode.MaxASCII || !unicode.In(r, unicode.Letter, unicode.Digit))
	}
	return len(key) > 0 && len(key) <= 128 && key[0] != '-' && bytes.IndexFunc(key, odd) < 0
}

// away is how to wait for surroundings that are away: for as long as it takes.
func away(waiting func(err error, delay time.Duration)) retry.Policy {
	return retry.Policy{First: 100 * time.Millisecond, Most: 5 * time.Second, Waiting: waiting}
}

// errSessionOver ends a retry: the partition is no longer ours to wait for.
var errSessionOver = errors.New("the session is over")

// final says whether waiting cannot help: another owner has the partition, the
// topic is another one by now or does not take what was decided, the database cannot
// hold a value, or it is damaged.
func final(err error) bool {
	return errors.Is(err, storage.ErrFenced) || errors.Is(err, kafka.ErrReplaced) || errors.Is(err, kafka.ErrTooLarge) || errors.Is(err, storage.ErrOutOfRange) || errors.Is(err, storage.ErrDamaged)
}

// retry does work until it succeeds, until waiting cannot help, or until the
// session is over.
func (w *worker[State, Change]) retry(session context.Context, what string, work func() error) error {
	waiting := func(err error, delay time.Duration) {
		w.loop.deps.Log.WarnContext(session, "waiting to try again", "operation", what, "delay", delay, "error", err)
	}
	err := away(waiting).Do(session, func() error {
		err := work()
		if final(err) {
			return retry.Stop(err)
		}
		return err
	})
	if err == nil {
		return nil
	}
	if final(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, errSessionOver, err)
}

// grace is how long a batch may go on after its session has ended.
const grace = 5 * time.Second

// withGrace returns a context that ends a grace after its parent, so that
// work under way can finish when a session ends.
func (w *worker[State, Change]) withGrace(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.NewTimer(w.grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}
