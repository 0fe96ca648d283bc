package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

// maxFailures bounds the failures that are told one by one.
const maxFailures = 20

// errWhich: neither ids nor a filter say which letters are meant.
var errWhich = errors.New("name letters by id or by a filter such as --reason, or take all with --" + flagAllLetters)

// selection reads which letters are to be settled, and refuses to guess.
func selection(c *cli.Command) (deadletters.Filter, error) {
	f, err := filter(c, c.Args().Slice())
	switch all := c.Bool(flagAllLetters); {
	case err != nil:
		return f, err
	case !all && !f.Narrow():
		return f, errWhich
	case all && f.Narrow():
		return f, errors.New("--" + flagAllLetters + " takes every letter; leave it out, or the ids and filters")
	}
	return f, nil
}

// settling collects what becomes of letters and tells it.
type settling struct {
	verb     string // replayed or purged
	out      io.Writer
	err      io.Writer
	json     bool
	done     int
	failed   int
	resolved int // before
	failures []string
}

func newSettling(c *cli.Command, verb string) *settling {
	return &settling{verb: verb, out: c.Root().Writer, err: c.Root().ErrWriter, json: c.Bool(flagJSON)}
}

// pick leaves out the letters that are resolved, and counts ids that name no
// letter as failures.
func (s *settling) pick(asked []record.Place, listed []deadletters.Letter, again bool) []deadletters.Letter {
	found := map[record.Place]bool{}
	var picked []deadletters.Letter
	for _, l := range listed {
		found[l.ID] = true
		if l.Resolved() && !again {
			s.resolved++
			s.line(l, "already "+l.Resolution.Kind, nil)
			continue
		}
		picked = append(picked, l)
	}
	for _, id := range asked {
		if !found[id] {
			found[id] = true // once, though it may be asked for twice
			s.tell(deadletters.Outcome{Letter: deadletters.Letter{ID: id}, Err: errNoLetter})
		}
	}
	return picked
}

// tell takes one letter's outcome.
func (s *settling) tell(o deadletters.Outcome) {
	if o.Err == nil {
		s.done++
		s.line(o.Letter, s.verb, nil)
		return
	}
	s.failed++
	s.line(o.Letter, "failed", o.Err)
	if !s.json && len(s.failures) < maxFailures {
		s.failures = append(s.failures, fmt.Sprintf("%s (%s): %v", o.Letter.ID, cell(o.Letter.Key), o.Err))
	}
}

// jsonOutcome is one letter's outcome for machines.
type jsonOutcome struct {
	ID      string `json:"id"`
	Order   string `json:"order,omitempty"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

func (s *settling) line(l deadletters.Letter, outcome string, err error) {
	if !s.json {
		return
	}
	o := jsonOutcome{ID: l.ID.String(), Order: l.Key, Outcome: outcome}
	if err != nil {
		o.Error = err.Error()
	}
	_ = json.NewEncoder(s.out).Encode(o) // a closed pipe ends the summary too
}

// finish writes the summary. Its error says that not all went well.
func (s *settling) finish() error {
	for _, text := range s.failures {
		fmt.Fprintln(s.err, text)
	}
	if more := s.failed - len(s.failures); more > 0 && !s.json {
		fmt.Fprintf(s.err, "… and %d more\n", more)
	}
	var err error
	if s.json {
		err = json.NewEncoder(s.out).Encode(map[string]int{s.verb: s.done, "failed": s.failed, "alreadyResolved": s.resolved})
	} else {
		_, err = fmt.Fprintf(s.out, "%s %d, failed %d, already resolved %d\n", s.verb, s.done, s.failed, s.resolved)
	}
	if s.failed > 0 {
		return fmt.Errorf("%s not %s", plural(s.failed, "letter"), s.verb)
	}
	return err
}

// flushTime bounds how long a command that has done its work waits for the
// collector.
const flushTime = 5 * time.Second

// withSettler runs work with what replays and purges. Spans carry the letters'
// traces on, and go to the collector where the environment names one; letters
// are settled whether it takes them or not.
func withSettler(ctx context.Context, c *cli.Command, source deadletters.Source, work func(deadletters.Resolver) error) (err error) {
	exporters, err := otlp.FromEnvironment(ctx)
	if err != nil {
		return err
	}
	t, err := telemetry.Setup(ctx, telemetry.Config{
		Service: "vigie-dlq", Version: programVersion(), LogWriter: io.Discard, LogLevel: slog.LevelError,
		SpanExporters: exporters.Spans, LogExporters: exporters.Logs,
	})
	if err != nil {
		return errors.Join(err, exporters.Shutdown(ctx))
	}
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		if lost := t.Shutdown(flush); lost != nil {
			fmt.Fprintf(c.Root().ErrWriter, "the spans of this command did not all reach the collector: %v\n", lost)
		}
	}()
	inst, err := otelkafka.New(t, otelkafka.Options{})
	if err != nil {
		return err
	}
	publisher, err := kafka.NewPublisher(source.Kafka)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	return work(deadletters.Resolver{Source: source, Publisher: publisher, Instrument: inst})
}
