package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/services/suivi"
)

// Names of the trace command's flags.
const (
	flagSuiviURL      = "suivi-url"
	flagJaegerURL     = "jaeger-url"
	defaultTraceLimit = 200
)

// errNeedsJaeger: a trace was asked for by its id, and Jaeger is not to be asked.
var errNeedsJaeger = errors.New("only Jaeger can find a trace by its id")

func traceCommand() *cli.Command {
	const where = "Where to ask"
	return &cli.Command{
		Name: "trace", Usage: "tell one order's story, from its request to the statistics", ArgsUsage: "ORDER", HideHelpCommand: true,
		Description: "Finds the order's records in Kafka and in them the trace that it began, and prints the trace's spans from\n" +
			"Jaeger as a tree: who did what, when, for how long, and what failed. Without Jaeger, or where it does not\n" +
			"have the trace, the records tell the story. Changes nothing. Exits with 0 when there is a story, else with 1.\n\n" +
			"   vigie trace order-1                             an order\n" +
			"   vigie trace 4bf92f3577b34da6a3ce929d0e0e4736    a trace, of a log line or an exemplar; asks Jaeger alone\n" +
			"   vigie trace order-1 --json | jq -r '.records[].place'\n" +
			"   vigie trace order-1 --json | jq -r '.spans[] | select(.failed) | .name + \": \" + .error'",
		Flags: append(kafkaFlags(defaultBroker),
			&cli.StringFlag{
				Name: flagSuiviURL, Sources: cli.EnvVars("VIGIE_SUIVI_URL"), Value: "http://" + suivi.Definition().Address, Category: where,
				Usage: "`URL` of suivi, which knows when the order was placed; without it the whole log is read",
			},
			&cli.StringFlag{
				Name: flagJaegerURL, Sources: cli.EnvVars("VIGIE_JAEGER_URL"), Value: "http://127.0.0.1:16686", Category: where,
				Usage: "`URL` of Jaeger; with an empty one the records tell the story",
			},
			&cli.IntFlag{
				Name: flagLimit, Value: defaultTraceLimit, Validator: notNegative, Category: "Output",
				Usage: "how many lines of the tree are printed; 0 prints all",
			},
			&cli.BoolFlag{Name: flagJSON, Usage: "print one JSON object", Category: "Output"},
		),
		Action: runTrace,
	}
}

func runTrace(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("trace takes one order's id, such as order-1, or one trace's id")
	}
	asked := strings.TrimSpace(c.Args().First())
	var report traces.Report
	var err error
	if id, ok := askedTrace(asked); ok {
		report, err = traceReport(ctx, c, id)
	} else {
		report, err = orderReport(ctx, c, asked)
	}
	if err != nil {
		return err
	}
	return printTrace(c.Root().Writer, report, c.Int(flagLimit), c.Bool(flagJSON))
}

// askedTrace reads a trace's id, as it is or in a traceparent.
func askedTrace(asked string) (id string, ok bool) {
	asked = strings.ToLower(asked)
	if c, ok := traces.ParseContext(asked); ok {
		return c.TraceID, true
	}
	return asked, traces.IsTraceID(asked)
}

// traceReport is what Jaeger has of a trace.
func traceReport(ctx context.Context, c *cli.Command, id string) (traces.Report, error) {
	if jaegerURL(c) == "" {
		return traces.Report{}, errNeedsJaeger
	}
	tree, err := jaegerTree(ctx, c, id)
	switch {
	case errors.Is(err, traces.ErrUnknownTrace):
		return traces.Report{}, fmt.Errorf("%w %s: %s", err, id, neverKept)
	case err != nil:
		return traces.Report{}, err
	default:
		return traces.Report{TraceID: id, Tree: tree}, nil
	}
}

// jaegerTree asks Jaeger for a trace.
func jaegerTree(ctx context.Context, c *cli.Command, id string) (traces.Tree, error) {
	jaeger := traces.Jaeger{URL: jaegerURL(c)}
	trace, err := jaeger.Trace(ctx, id)
	if err != nil {
		return traces.Tree{}, err
	}
	tree := traces.NewTree(trace)
	jaeger.Batches(ctx, tree)
	return tree, nil
}

func jaegerURL(c *cli.Command) string { return baseURL(c, flagJaegerURL) }

func printTrace(w io.Writer, report traces.Report, limit int, asJSON bool) error {
	if !asJSON {
		_, err := io.WriteString(w, report.Text(limit))
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(report)
}
