package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Names of the audit's flags.
const (
	flagAuditPatience = "patience"
	defaultLimit      = 20
)

// errNoTopic: the cluster is not one that Vigie's topics are on.
var errNoTopic = errors.New("topic is not there")

func auditCommand() *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "say whether every order is accounted for once", HideHelpCommand: true,
		Description: "Reads the topics from their start and the services' state, and holds the two against each other: each\n" +
			"order that was created is decided once, or dead-lettered, or in flight, to the cent. Changes nothing,\n" +
			"and may run beside the services. Exits with 0 when all is accounted for, and with 1 when not.",
		Flags: slices.Concat(kafkaFlags(defaultBroker), databaseFlags(), []cli.Flag{
			retentionFlag(),
			&cli.DurationFlag{
				Name: flagAuditPatience, Sources: cli.EnvVars("AUDIT_PATIENCE"), Value: 10 * time.Second, Category: "Audit",
				Usage: "how long what differs is looked at again, before it counts",
			},
			&cli.IntFlag{
				Name: flagLimit, Sources: cli.EnvVars("AUDIT_LIMIT"), Value: defaultLimit, Category: "Audit",
				Usage: "how many differences are named", Validator: notNegative,
			},
			jsonFlag("print one JSON object"),
		}),
		Action: runAudit,
	}
}

func runAudit(ctx context.Context, c *cli.Command) (err error) {
	database, err := databaseURL(c)
	if err != nil {
		return err
	}
	cfg, err := kafkaConfig(c, "vigie-audit", defaultBroker)
	if err != nil {
		return err
	}
	client, err := kafka.Connect(ctx, cfg, c.Duration(flagPatience))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := checkTopics(client); err != nil {
		return err
	}
	bar := newBar(c.Root().ErrWriter, "reading the log")
	defer bar.finish()
	report, err := audit.Run(ctx, audit.Config{
		Bounds: func(topics ...string) ([]kafka.Span, error) { return kafka.Bounds(client, topics...) },
		Scan: func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
			return kafka.Scan(ctx, cfg, spans, read)
		},
		State:    func(ctx context.Context) (audit.State, error) { return readState(ctx, database, client) },
		Patience: c.Duration(flagAuditPatience), Retention: c.Duration(flagRetention),
		Progress: bar.progress,
	})
	bar.finish()
	if err != nil {
		return err
	}
	if err := printAudit(c.Root().Writer, report.Limit(c.Int(flagLimit)), c.Bool(flagJSON)); err != nil {
		return err
	}
	return verdict(report)
}

// checkTopics looks for the topics without asking for them by name, which
// would have some brokers create them.
func checkTopics(client sarama.Client) error {
	existing, err := client.Topics()
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	for _, t := range banking.Topics() {
		if !slices.Contains(existing, t.Name) {
			return fmt.Errorf("%s: %w; `vigie topics` creates the topics", t.Name, errNoTopic)
		}
	}
	return nil
}

func printAudit(w io.Writer, report audit.Report, asJSON bool) error {
	if !asJSON {
		_, err := io.WriteString(w, report.Text())
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(report)
}

// verdict is the error of an audit that found differences.
func verdict(report audit.Report) error {
	if report.AccountedFor {
		return nil
	}
	first := report.Differences[0]
	what := first.Kind.Words()
	if first.OrderID != "" {
		what = first.OrderID + " " + what
	}
	return fmt.Errorf("not every order is accounted for once; differences: %d, the first: %s", report.DifferenceCount, what)
}
