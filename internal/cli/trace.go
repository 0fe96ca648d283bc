package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/services/suivi"
)

// Names of the trace command's flags.
const (
	flagSuiviURL      = "suivi-url"
	flagJaegerURL     = "jaeger-url"
	variableJaegerURL = "VIGIE_JAEGER_URL"
	variablePageURL   = "VIGIE_PAGE_URL"
	defaultTraceLimit = 200
	// traceTimeout bounds each answer of suivi, of the instance and of Jaeger.
	traceTimeout = 5 * time.Second
)

// errNeedsSpans: a trace was asked for by its id, and there is nobody to ask.
var errNeedsSpans = errors.New("only a running instance or Jaeger can find a trace by its id")

func traceCommand() *cli.Command {
	const where = "Where to ask"
	return &cli.Command{
		Name: "trace", Usage: "show one order's story, from its request to the statistics", ArgsUsage: "ORDER", HideHelpCommand: true,
		Description: "Finds the order's records in Kafka and in them the trace that it began, and prints the trace's spans as\n" +
			"a tree: who did what, when, for how long, and what failed. The spans are those that the running instance keeps,\n" +
			"or Jaeger's. Where there are none, the story comes from the records. It ends with why the order is where it is,\n" +
			"and with the command to type next. Changes nothing. Exits with 0 when there is a story, else with 1.\n\n" +
			"   vigie trace order-1                             an order\n" +
			"   vigie trace 4bf92f3577b34da6a3ce929d0e0e4736    a trace, of a log line or an exemplar; from spans alone\n" +
			"   vigie trace order-1 --json | jq -r '.records[].place'\n" +
			"   vigie trace order-1 --json | jq -r '.spans[] | select(.failed) | .name + \": \" + .error'",
		Flags: append(slices.Concat(kafkaFlags(brokerOfInstance()), askerFlags()), instanceFlag(),
			&cli.StringFlag{
				Name: flagSuiviURL, Sources: cli.EnvVars("VIGIE_SUIVI_URL"), Value: "http://" + suivi.Definition().Address, Category: where,
				Usage: "`URL` of suivi, which knows when the order was placed; without it the whole log is read",
			},
			&cli.StringFlag{
				Name: flagJaegerURL, Sources: cli.EnvVars(variableJaegerURL), Value: "http://127.0.0.1:16686", Category: where,
				Usage: "`URL` of Jaeger; where it is not set the running instance is asked first, an empty one is not asked",
			},
			&cli.StringFlag{
				Name: flagPage, Sources: cli.EnvVars(variablePageURL), Category: where,
				Usage: "`URL` of a running instance's page (default: of the instance which runs in --" + flagData + ")",
			},
			&duration.Flag{
				Name: flagTimeout, Value: traceTimeout, Category: where,
				Usage: "how long each answer of suivi, the instance and Jaeger may take; what does not answer is done without",
			},
			&cli.IntFlag{
				Name: flagLimit, Value: defaultTraceLimit, Validator: notNegative, Category: "Output",
				Usage: "how many lines of the tree are printed; 0 prints all",
			},
			&cli.BoolFlag{Name: flagJSON, Usage: "print one JSON object", Category: "Output"},
		),
		Action: onInstance(runTrace),
	}
}

func runTrace(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return misusef("trace takes one order's id, such as order-1, or one trace's id")
	}
	argument := strings.TrimSpace(c.Args().First())
	var report traces.Report
	var err error
	if id, ok := parseTraceID(argument); ok {
		report, err = traceReport(ctx, c, id)
	} else {
		report, err = orderReport(ctx, c, argument)
	}
	if err != nil {
		return err
	}
	return printTrace(c.Root().Writer, report, c.Int(flagLimit), c.Bool(flagJSON))
}

// parseTraceID reads a trace's id, as it is or in a traceparent.
func parseTraceID(text string) (id string, ok bool) {
	text = strings.ToLower(text)
	if c, ok := traces.ParseContext(text); ok {
		return c.TraceID, true
	}
	return text, traces.IsTraceID(text)
}

// traceReport is what is known of a trace's spans.
func traceReport(ctx context.Context, c *cli.Command, id string) (traces.Report, error) {
	report := traces.Report{TraceID: id}
	err := findSpans(ctx, c, &report)
	switch {
	case errors.Is(err, traces.ErrUnknownTrace):
		return report, fmt.Errorf("%w %s: %s", err, id, neverKept)
	case err != nil:
		return report, err
	}
	report.Outcome = report.Tree.Failure()
	return report, nil
}

// spanSource is a source of spans, and its name in JSON.
type spanSource struct {
	name string
	traces.Source
}

// spanSources are the sources to ask, the first first: a Jaeger that was named,
// else the running instance, else a Jaeger where it usually is.
func spanSources(c *cli.Command) (all []spanSource, err error) {
	ask, err := newAsker(c)
	if err != nil {
		return nil, err
	}
	jaeger := spanSource{"jaeger", traces.Jaeger{URL: jaegerURL(c), Timeout: c.Duration(flagTimeout)}}
	if page := baseURL(c, flagPage); page != "" && !c.IsSet(flagJaegerURL) {
		all = append(all, spanSource{"instance", traces.Instance{URL: page, Timeout: c.Duration(flagTimeout), Token: ask.token.Reveal(), TLS: ask.transport.TLSClientConfig}})
	}
	if jaegerURL(c) != "" {
		all = append(all, jaeger)
	}
	return all, nil
}

// findSpans adds the spans of the report's trace, of the first source that has
// it. The error is the first source's.
func findSpans(ctx context.Context, c *cli.Command, report *traces.Report) error {
	sources, err := spanSources(c)
	if err != nil {
		return err
	}
	var first error
	for _, source := range sources {
		found, err := source.Trace(ctx, report.TraceID)
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		report.Tree, report.From = traces.NewTree(found), source.name
		ctx, cancel := context.WithTimeout(ctx, c.Duration(flagTimeout))
		defer cancel() //nolint:revive // the loop ends here
		traces.Batches(ctx, source, report.Tree)
		return nil
	}
	return cmp.Or(first, errNeedsSpans)
}

func jaegerURL(c *cli.Command) string { return baseURL(c, flagJaegerURL) }

const (
	// maxOrderID bounds an order's id, in bytes.
	maxOrderID = 128
	// onItsWay is how long spans may take to be sent and stored.
	onItsWay = 30 * time.Second

	neverKept     = "its spans were passed over while many orders came, never sent, left out by sampling, or have made room for others"
	howToSwitchOn = "To see every span, switch tracing on: `make start PROFILES=tracing`, or OTEL_TRACES_EXPORTER=otlp."
)

// errNoOrder: the log holds no record of the order.
var errNoOrder = errors.New("no such order")

// orderReport finds the order's records, and its trace where Jaeger has it.
func orderReport(ctx context.Context, c *cli.Command, order string) (traces.Report, error) {
	if err := checkOrderID(order); err != nil {
		return traces.Report{}, asMisuse(err)
	}
	ask, err := newAsker(c)
	if err != nil {
		return traces.Report{}, err
	}
	limited, cancel := context.WithTimeout(ctx, c.Duration(flagTimeout))
	known := querySuivi(limited, ask, baseURL(c, flagSuiviURL), order)
	cancel()
	facts, err := orderFacts(ctx, c, order, known)
	if err != nil {
		return traces.Report{}, err
	}
	report := traces.Report{Order: order, Status: known.status, Facts: facts, Outcome: traces.OutcomeOf(order, known.rejection, facts, time.Now())}
	if report.Outcome.Next == "" && known.found {
		report.Outcome.Next = "curl " + baseURL(c, flagSuiviURL) + "/orders/" + order + "/status"
	}
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
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := checkTopics(client); err != nil {
		return nil, err
	}
	for _, window := range slices.Compact([]traces.Window{known.window, {}}) {
		bar := newBar(c.Root().ErrWriter, "reading the log")
		source := traces.Cluster{Kafka: cfg, Client: client, Progress: bar.draw}
		facts, err = source.Facts(ctx, order, window)
		bar.finish()
		if err != nil || known.complete(facts) {
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

// addSpans adds the spans that somebody has, or why nobody has any.
func addSpans(ctx context.Context, c *cli.Command, report *traces.Report) error {
	err := findSpans(ctx, c, report)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
	case errors.Is(err, errNeedsSpans):
		report.Why = "Jaeger is not used"
	case !errors.Is(err, traces.ErrUnknownTrace):
		report.Why = plain(err)
		report.Notes = append(report.Notes, howToSwitchOn)
	case !traces.Sampled(report.Facts):
		report.Why = "the trace was not sampled, its traceparent says so"
	default:
		report.Why = plain(err)
		report.Notes = append(report.Notes, missingSpans(time.Since(report.Facts[len(report.Facts)-1].Time))...)
	}
	return nil
}

// missingSpans says why Jaeger may not have a trace whose last record is that
// old.
func missingSpans(age time.Duration) []string {
	notes := []string{"It is not there: " + neverKept + "."}
	if age < onItsWay {
		notes = append(notes, "Spans may also be on their way: try again in a few seconds.")
	}
	return append(notes, howToSwitchOn)
}

// knownOrder is what suivi knows of an order.
type knownOrder struct {
	found     bool
	status    string
	rejection string // why it was rejected
	window    traces.Window
	// note says why it knows nothing; "" where it does.
	note string
}

// complete says whether the records tell what suivi knows of the order. The
// times of records are their producers', so that a window may miss some.
func (k knownOrder) complete(facts []traces.Fact) bool {
	has := func(kinds ...string) bool {
		return slices.ContainsFunc(facts, func(f traces.Fact) bool { return slices.Contains(kinds, f.Kind) })
	}
	switch banking.OrderStatus(k.status) {
	case banking.OrderStatusAuthorized:
		return has(traces.KindCreated) && has(traces.KindAuthorized)
	case banking.OrderStatusRejected:
		return has(traces.KindCreated) && has(traces.KindRejected)
	case banking.OrderStatusFailed:
		return has(traces.KindCreated) && has(traces.KindSetAside)
	default:
		return has(traces.KindCreated)
	}
}

// querySuivi gets an order. It never fails: what suivi does not say is found
// by reading more.
func querySuivi(ctx context.Context, ask asker, base, order string) knownOrder {
	target, err := url.Parse(base)
	if err != nil || target.Host == "" {
		return knownOrder{note: "suivi's URL is not one such as http://127.0.0.1:3002: the whole log was read."}
	}
	status, body, err := ask.get(ctx, target.JoinPath("orders", url.PathEscape(order), "status").String(), maxPage)
	away := func(reason string) knownOrder {
		return knownOrder{note: fmt.Sprintf("suivi at %s does not answer (%s): the whole log was read.", target.Redacted(), reason)}
	}
	switch {
	case err != nil:
		return away(traces.Reason(err))
	case status == http.StatusNotFound:
		return knownOrder{note: "suivi does not know the order yet: the whole log was read."}
	case status == http.StatusUnauthorized:
		return away("it wants a token, which --" + flagToken + " names")
	case status != http.StatusOK:
		return away(fmt.Sprintf("status %d", status))
	}
	var answer struct {
		Status  banking.OrderStatus
		Details struct{ RejectionReason string }
		Events  []struct{ Timestamp time.Time }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return away("not as suivi does")
	}
	known := knownOrder{found: true, rejection: answer.Details.RejectionReason}
	switch answer.Status {
	case banking.OrderStatusAuthorized, banking.OrderStatusRejected, banking.OrderStatusCreated, banking.OrderStatusFailed:
		known.status = string(answer.Status)
	}
	for _, e := range answer.Events {
		if known.window.From.IsZero() || e.Timestamp.Before(known.window.From) {
			known.window.From = e.Timestamp
		}
		if e.Timestamp.After(known.window.Until) {
			known.window.Until = e.Timestamp
		}
	}
	if !answer.Status.Decided() {
		known.window.Until = time.Time{} // more may have come since
	}
	return known
}

func printTrace(w io.Writer, report traces.Report, limit int, asJSON bool) error {
	if !asJSON {
		_, err := io.WriteString(w, printableLines(report.Text(limit)))
		return err
	}
	return writeJSON(w, report)
}
