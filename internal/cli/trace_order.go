package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/traces"
)

const (
	// maxOrderID bounds an order's id, in bytes.
	maxOrderID = 128
	// onItsWay is how long spans may take to be sent and stored.
	onItsWay = 30 * time.Second

	neverKept     = "it was never sent, sampling left it out, or it is past Jaeger's retention"
	howToSwitchOn = "To see every span, switch tracing on: `make start PROFILES=tracing`, or OTEL_TRACES_EXPORTER=otlp."
)

// errNoOrder: the log holds no record of the order.
var errNoOrder = errors.New("no such order")

// orderReport finds the order's records, and its trace where Jaeger has it.
func orderReport(ctx context.Context, c *cli.Command, order string) (traces.Report, error) {
	if err := checkOrderID(order); err != nil {
		return traces.Report{}, err
	}
	known := askSuivi(ctx, baseURL(c, flagSuiviURL), order)
	facts, err := orderFacts(ctx, c, order, known)
	if err != nil {
		return traces.Report{}, err
	}
	report := traces.Report{Order: order, Status: known.status, Facts: facts}
	if known.note != "" {
		report.Notes = append(report.Notes, known.note)
	}
	if len(facts) == traces.MaxFacts {
		report.Notes = append(report.Notes, fmt.Sprintf("The order has more records than the %d shown.", len(facts)))
	}
	ids := traces.TraceIDs(facts)
	if len(ids) == 0 {
		report.Why = "they carry no trace context"
		return report, nil
	}
	report.TraceID = ids[0]
	if len(ids) > 1 {
		report.Notes = append(report.Notes, "The order is also in trace "+strings.Join(ids[1:min(len(ids), 4)], ", ")+".")
	}
	return report, addSpans(ctx, c, &report)
}

// checkOrderID refuses what cannot be the key of an order.
func checkOrderID(order string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '/' }
	if order == "" || len(order) > maxOrderID || !utf8.ValidString(order) || strings.ContainsFunc(order, odd) {
		return errors.New("want an order's id such as order-1, or a trace's id of 32 hex digits")
	}
	return nil
}

// orderFacts reads the order's records: those of the time that suivi knows,
// and the whole log where it knows none, or where they are not of that time.
func orderFacts(ctx context.Context, c *cli.Command, order string, known knownOrder) (facts []traces.Fact, err error) {
	cfg, err := kafkaConfig(c, "vigie-trace", defaultBroker)
	if err != nil {
		return nil, err
	}
	client, err := kafka.Connect(ctx, cfg, c.Duration(flagPatience))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := checkTopics(client); err != nil {
		return nil, err
	}
	for _, window := range slices.Compact([]traces.Window{known.window, {}}) {
		bar := newBar(c.Root().ErrWriter, "reading the log")
		source := traces.Source{Kafka: cfg, Client: client, Progress: bar.progress}
		facts, err = source.Facts(ctx, order, window)
		bar.finish()
		if err != nil || slices.ContainsFunc(facts, func(f traces.Fact) bool { return f.Kind == traces.KindCreated }) {
			return facts, err
		}
	}
	switch {
	case len(facts) > 0: // retention has deleted the first of them
		return facts, nil
	case known.found:
		return nil, fmt.Errorf("%s: %w in Kafka any more: suivi knows it, but retention has deleted its records", order, errNoOrder)
	default:
		return nil, fmt.Errorf("%s: %w: %s has no record of it", order, errNoOrder, banking.TopicOrdersCreated)
	}
}

// addSpans adds what Jaeger has, or why it has nothing.
func addSpans(ctx context.Context, c *cli.Command, report *traces.Report) error {
	if jaegerURL(c) == "" {
		report.Why = "Jaeger is not asked"
		return nil
	}
	var err error
	report.Tree, err = jaegerTree(ctx, c, report.TraceID)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
	case !errors.Is(err, traces.ErrUnknownTrace):
		report.Why = err.Error()
		report.Notes = append(report.Notes, howToSwitchOn)
	case !traces.Sampled(report.Facts):
		report.Why = "the trace was not sampled, its traceparent says so"
	default:
		report.Why = err.Error()
		report.Notes = append(report.Notes, "Jaeger does not have it: "+neverKept+".")
		if time.Since(report.Facts[len(report.Facts)-1].Time) < onItsWay {
			report.Notes = append(report.Notes, "Spans may also be on their way: try again in a few seconds.")
		}
		report.Notes = append(report.Notes, howToSwitchOn)
	}
	return nil
}
