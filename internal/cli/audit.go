package cli

import (
	"cmp"
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
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
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
		Description: "Reads the topics from their start and the services' state, and compares the two: each\n" +
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
	client, err := kafka.Connect(ctx, cfg)
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
		Bounds: func(topics ...string) ([]kafka.Span, error) { return kafka.Bounds(ctx, client, topics...) },
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

// readState reads what the services have stored, read-only and whether they
// run or not. A service without storage there is left out, with the reason; it
// is an error where there is none at all.
func readState(ctx context.Context, databaseURL string, client *kafka.Client) (audit.State, error) {
	var topics []string
	for _, t := range banking.Topics() {
		topics = append(topics, t.Name)
	}
	identities, err := kafka.Identities(ctx, client, topics)
	if err != nil {
		return audit.State{}, err
	}
	state := audit.State{NotLookedAt: map[string]string{}}
	parts := []struct {
		service string
		read    func(context.Context, *storage.Snapshot) error
	}{
		{paiement.Name, func(ctx context.Context, s *storage.Snapshot) (err error) {
			state.Paiement, err = readPaiement(ctx, s)
			return err
		}},
		{suivi.Name, func(ctx context.Context, s *storage.Snapshot) (err error) {
			state.Suivi, err = readSuivi(ctx, s)
			return err
		}},
		{analyseur.Name, func(ctx context.Context, s *storage.Snapshot) (err error) {
			state.Analyseur, err = readAnalyseur(ctx, s)
			return err
		}},
	}
	var missing error
	for _, p := range parts {
		switch err := readPart(ctx, databaseURL, p.service, identities, p.read); {
		case errors.Is(err, storage.ErrMissing):
			state.NotLookedAt[p.service], missing = err.Error(), cmp.Or(missing, err)
		case err != nil:
			return audit.State{}, err
		}
	}
	if len(state.NotLookedAt) == len(parts) {
		return audit.State{}, fmt.Errorf("no service's state can be looked at: %w", missing)
	}
	return state, nil
}

// readPart reads one service's storage as of one moment.
func readPart(ctx context.Context, databaseURL, service string, identities map[string]string,
	read func(context.Context, *storage.Snapshot) error,
) (err error) {
	r, err := storage.OpenReadOnly(ctx, databaseURL, service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Snapshot(ctx, func(s *storage.Snapshot) error {
		if err := s.CheckStamp(ctx, identities); err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
		if err := read(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
		return nil
	})
}

func readPaiement(ctx context.Context, s *storage.Snapshot) (*audit.Paiement, error) {
	positions, err := s.Positions(ctx)
	if err != nil {
		return nil, err
	}
	out := &audit.Paiement{Positions: positions}
	pending, err := s.Pending(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		for _, m := range p.Messages {
			out.Pending = append(out.Pending, record.Record{
				Place: record.At(m.Topic, 0, 0), Key: m.Key, Value: m.Value, Headers: m.Headers,
			})
		}
	}
	return out, paiement.ReadLedger(ctx, s, func(r paiement.LedgerRow) error {
		out.Ledger = append(out.Ledger, audit.LedgerRow(r))
		return nil
	})
}

func readSuivi(ctx context.Context, s *storage.Snapshot) (*audit.Suivi, error) {
	positions, err := s.Positions(ctx)
	if err != nil {
		return nil, err
	}
	out := &audit.Suivi{Positions: positions}
	return out, suivi.ReadViews(ctx, s, func(v suivi.View) error {
		out.Views = append(out.Views, audit.View{OrderID: v.OrderID, Status: v.Status, Amount: v.Amount, Events: v.Events})
		return nil
	})
}

func readAnalyseur(ctx context.Context, s *storage.Snapshot) (*audit.Analyseur, error) {
	positions, err := s.Positions(ctx)
	if err != nil {
		return nil, err
	}
	totals, err := analyseur.ReadTotals(ctx, s)
	if err != nil {
		return nil, err
	}
	out := &audit.Analyseur{Positions: positions, Totals: map[string]audit.Sum{}}
	for _, t := range totals {
		out.Totals[t.Status] = audit.Sum{Count: t.Count, Amount: t.Amount}
	}
	return out, analyseur.ReadTransactions(ctx, s, func(t analyseur.Transaction) error {
		out.Transactions = append(out.Transactions, audit.Transaction(t))
		return nil
	})
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
