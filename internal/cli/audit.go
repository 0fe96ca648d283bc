package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/duration"
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
	flagSince         = "since"
	flagTempDir       = "temp-dir"
	defaultLimit      = 20
	auditPatience     = 10 * time.Second
)

// What is read before the time that --since names: clocks are apart, records
// wait to be published, and some have no time, or a wrong one.
const (
	auditOverlap        = time.Hour
	auditOverlapRecords = 1000
)

// errNoTopic: the cluster is not one that Vigie's topics are on.
var errNoTopic = errors.New("topic is not there")

func auditCommand() *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "say whether every order is accounted for once", HideHelpCommand: true,
		Description: "Reads the topics from their start and the services' state, and compares the two: each\n" +
			"order that was created is decided once, or dead-lettered, or in flight, to the cent, and shown and\n" +
			"counted as it is. Changes nothing, and may run beside the services, in less than 512 MB of memory.\n" +
			"\n" +
			"Exits with 0 when all is accounted for, and with 1 when not, or when it cannot tell: a service's\n" +
			"state is not there or cannot be read; an order is so old that its decision may have left both log\n" +
			"and ledger; or --since asks for orders that retention has cut. That retention has cut orders which\n" +
			"nobody asks for is no failure: it says from where on it can tell.",
		Flags: slices.Concat(kafkaFlags(brokerOfInstance()), databaseFlags(), []cli.Flag{
			retentionFlag(),
			&duration.Flag{
				Name: flagAuditPatience, Sources: cli.EnvVars("AUDIT_PATIENCE"), Value: auditPatience, Category: "Audit",
				Usage: "how long what differs is looked at again, before it counts",
			},
			&cli.IntFlag{
				Name: flagLimit, Sources: cli.EnvVars("AUDIT_LIMIT"), Value: defaultLimit, Category: "Audit",
				Usage: "how many differences are named", Validator: notNegative,
			},
			&cli.StringFlag{
				Name: flagSince, Sources: cli.EnvVars("AUDIT_SINCE"), Category: "Audit",
				Usage: "audit only orders created since `TIME`, in RFC 3339, or as long ago as 7d (default: all)",
			},
			&cli.StringFlag{
				Name: flagTempDir, Sources: cli.EnvVars("AUDIT_TEMP_DIR"), Category: "Audit",
				Usage: "`FOLDER` for temporary files, about 600 bytes for each order (default: the system's)",
			},
			jsonFlag("print one JSON object"),
		}),
		Action: onInstance(runAudit),
	}
}

func runAudit(ctx context.Context, c *cli.Command) (err error) {
	database, err := databaseURL(c)
	if err != nil {
		return err
	}
	since, err := parseSince(c.String(flagSince), time.Now())
	if err != nil {
		return asMisuse(err)
	}
	cfg, err := kafkaConfig(c, "vigie-audit", defaultBroker)
	if err != nil {
		return err
	}
	audited, end, err := openAudit(ctx, cfg, stateIn(database))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	bar := newBar(c.Root().ErrWriter, "reading the log")
	defer bar.finish()
	audited.Since, audited.Patience, audited.Retention = since, c.Duration(flagAuditPatience), c.Duration(flagRetention)
	audited.Limit, audited.Dir, audited.Progress = c.Int(flagLimit), c.String(flagTempDir), bar.draw
	report, err := audit.Run(ctx, audited)
	bar.finish()
	if err != nil {
		return err
	}
	if err := printAudit(c.Root().Writer, report.Limit(c.Int(flagLimit)), c.Bool(flagJSON)); err != nil {
		return err
	}
	return verdict(report)
}

// readsState reads the services' state, on a cluster whose topics have these
// identities.
type readsState func(ctx context.Context, client *kafka.Client, identities map[string]string, rows *audit.Rows) (audit.State, error)

// stateIn reads it from a database.
func stateIn(database string) readsState {
	return func(ctx context.Context, client *kafka.Client, identities map[string]string, rows *audit.Rows) (audit.State, error) {
		return readState(ctx, database, client, identities, rows)
	}
}

// openAudit connects to what an audit is of, and returns what ends that.
func openAudit(ctx context.Context, cfg kafka.Config, state readsState) (_ audit.Config, end func() error, err error) {
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return audit.Config{}, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, client.Close())
		}
	}()
	if err := checkTopics(client); err != nil {
		return audit.Config{}, nil, err
	}
	var topics []string
	for _, t := range banking.Topics() {
		topics = append(topics, t.Name)
	}
	identities, err := kafka.Identities(ctx, client, topics)
	if err != nil {
		return audit.Config{}, nil, err
	}
	return audit.Config{
		Bounds:  func(topics ...string) ([]kafka.Span, error) { return kafka.Bounds(ctx, client, topics...) },
		Written: kafka.Cluster{Config: cfg, Client: client}.Written,
		Scan: func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
			return kafka.Scan(ctx, cfg, spans, read)
		},
		State: func(ctx context.Context, rows *audit.Rows) (audit.State, error) {
			now, err := kafka.Identities(ctx, client, topics)
			if err != nil {
				return audit.State{}, err
			}
			if !maps.Equal(now, identities) {
				return audit.State{}, fmt.Errorf("%w: its topics were made anew", audit.ErrLogChanged)
			}
			return state(ctx, client, identities, rows)
		},
		From: func(spans []kafka.Span, since time.Time) ([]kafka.Span, error) {
			return startAt(ctx, client, spans, since)
		},
	}, client.Close, nil
}

// auditOpener opens the system that a service outside the bank audits on a
// schedule. Of a bank elsewhere, whose services' storage is not here, it looks at
// the log alone, unless somebody has said where the storage is.
func auditOpener(c *cli.Command, addresses []string, needsState bool) (func(context.Context) (audit.Config, func() error, error), error) {
	database, err := databaseURL(c)
	if err != nil {
		return nil, err
	}
	cfg, err := kafkaConfig(c, "vigie-audit", addresses...)
	if err != nil {
		return nil, err
	}
	needsState = needsState || c.String(flagDatabase) != "" || c.String(flagDatabase+flagFileSuffix) != ""
	return func(ctx context.Context) (audit.Config, func() error, error) {
		audited, end, err := openAudit(ctx, cfg, func(ctx context.Context, client *kafka.Client, identities map[string]string, rows *audit.Rows) (audit.State, error) {
			state, err := readState(ctx, database, client, identities, rows)
			if errors.Is(err, storage.ErrMissing) && !needsState {
				return logAlone(client)
			}
			return state, err
		})
		audited.Retention = c.Duration(flagRetention)
		return audited, end, err
	}, nil
}

// logAlone is the state of services whose storage is not here.
func logAlone(client *kafka.Client) (audit.State, error) {
	committed, err := kafka.Committed(client, banking.GroupPaiement, banking.TopicOrdersCreated)
	state := audit.State{LogAlone: true, Committed: committed, NotLookedAt: map[string]string{}}
	for _, name := range []string{paiement.Name, suivi.Name, analyseur.Name} {
		state.NotLookedAt[name] = "its storage is not here"
	}
	return state, err
}

// errSince: a text is no time to audit from.
var errSince = errors.New("want a time in RFC 3339, such as 2026-05-01T00:00:00Z, or how long ago, such as 24h or 7d; not in the future")

// parseSince reads a time, or how long ago it was; "" is the zero time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	since, err := time.Parse(time.RFC3339Nano, text)
	if ago, notAgo := duration.Parse(text); notAgo == nil {
		since, err = now.Add(-ago), nil
	}
	if err != nil || since.After(now) {
		return time.Time{}, fmt.Errorf("--%s %.64q: %w", flagSince, text, errSince)
	}
	return since, nil
}

// startAt moves the spans' starts on to what may be of orders that were created
// since then.
func startAt(ctx context.Context, client *kafka.Client, spans []kafka.Span, since time.Time) ([]kafka.Span, error) {
	first, err := kafka.OffsetsAt(ctx, client, spans, since.Add(-auditOverlap))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(spans)
	for i, s := range out {
		out[i].Start = max(s.Start, first[s.Partition]-auditOverlapRecords)
	}
	return out, nil
}

// checkTopics looks for the topics.
func checkTopics(client sarama.Client) error {
	missing, err := kafka.MissingTopics(client, banking.Topics())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: %w; `vigie topics` creates the topics", missing[0].Name, errNoTopic)
	}
	return nil
}

// readState reads what the services have stored, read-only and whether they
// run or not, all at the same time. A service without storage there is left
// out, with the reason; it is an error where there is none at all.
func readState(ctx context.Context, databaseURL string, client *kafka.Client, identities map[string]string, rows *audit.Rows) (audit.State, error) {
	state := audit.State{NotLookedAt: map[string]string{}}
	parts := []struct {
		service string
		read    func(context.Context, *storage.Snapshot) error
	}{
		{paiement.Name, func(ctx context.Context, s *storage.Snapshot) (err error) {
			state.Paiement, err = readPaiement(ctx, s, rows)
			return err
		}},
		{suivi.Name, func(ctx context.Context, s *storage.Snapshot) (err error) {
			state.Suivi, err = readSuivi(ctx, s, rows)
			return err
		}},
		{analyseur.Name, func(ctx context.Context, s *storage.Snapshot) (err error) {
			state.Analyseur, err = readAnalyseur(ctx, s, rows)
			return err
		}},
	}
	missing := make([]error, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range parts {
		group.Go(func() error {
			err := readPart(ctx, databaseURL, p.service, identities, p.read)
			if errors.Is(err, storage.ErrMissing) {
				missing[i], err = err, nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return audit.State{}, err
	}
	for i, p := range parts {
		if missing[i] != nil {
			state.NotLookedAt[p.service] = missing[i].Error()
		}
	}
	if len(state.NotLookedAt) == len(parts) {
		return audit.State{}, fmt.Errorf("no service's state can be looked at: %w", missing[0])
	}
	if state.Paiement == nil {
		var err error
		if state.Committed, err = kafka.Committed(client, banking.GroupPaiement, banking.TopicOrdersCreated); err != nil {
			return audit.State{}, err
		}
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

func readPaiement(ctx context.Context, s *storage.Snapshot, rows *audit.Rows) (*audit.Paiement, error) {
	positions, err := s.Positions(ctx)
	if err != nil {
		return nil, err
	}
	pending, err := s.Pending(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		for _, m := range p.Messages {
			waits := record.Record{Place: record.At(m.Topic, 0, 0), Key: m.Key, Value: m.Value, Headers: m.Headers}
			if err := rows.Pending(waits); err != nil {
				return nil, err
			}
		}
	}
	from, err := paiement.ReadDecidesFrom(ctx, s)
	if err != nil {
		return nil, err
	}
	return &audit.Paiement{Positions: positions, DecidesFrom: from}, paiement.ReadLedger(ctx, s, func(r paiement.LedgerRow) error {
		return rows.Ledger(audit.LedgerRow(r))
	})
}

func readSuivi(ctx context.Context, s *storage.Snapshot, rows *audit.Rows) (*audit.Suivi, error) {
	positions, err := s.Positions(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := suivi.ReadCounts(ctx, s)
	if err != nil {
		return nil, err
	}
	return &audit.Suivi{Positions: positions, Counts: counts}, suivi.ReadViews(ctx, s, func(v suivi.View) error {
		out := audit.View{
			OrderID: v.OrderID, UserID: v.UserID, Amount: v.Amount, Items: v.Items, Status: v.Status,
			AuthorizationCode: v.AuthorizationCode, RejectionReason: v.RejectionReason, FailureReason: v.FailureReason,
			CreatedAt: v.CreatedAt, ProcessedAt: v.ProcessedAt, ListedAt: v.ListedAt, UpdatedAt: v.UpdatedAt,
			History: make([]audit.Moment, len(v.Events)),
		}
		for i, m := range v.Events {
			out.History[i] = audit.Moment(m)
		}
		return rows.View(out)
	})
}

func readAnalyseur(ctx context.Context, s *storage.Snapshot, rows *audit.Rows) (*audit.Analyseur, error) {
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
		out.Totals[t.Status] = audit.Sum{Count: t.Count, Amount: audit.CentsOf(t.Amount)}
	}
	if err := analyseur.ReadMinutes(ctx, s, func(m analyseur.Minute) error { return rows.Minute(audit.Minute(m)) }); err != nil {
		return nil, err
	}
	return out, analyseur.ReadTransactions(ctx, s, func(t analyseur.Transaction) error {
		return rows.Transaction(audit.Transaction(t))
	})
}

func printAudit(w io.Writer, report audit.Report, asJSON bool) error {
	if !asJSON {
		_, err := io.WriteString(w, printableLines(report.Text()))
		return err
	}
	return writeJSON(w, report)
}

// verdict is the error of an audit that found differences, or that cannot tell.
func verdict(report audit.Report) error {
	switch {
	case report.AccountedFor:
		return nil
	case report.DifferenceCount == 0:
		return fmt.Errorf("it cannot be told whether every order is accounted for: %s", strings.Join(report.CannotTellWhy, "; "))
	}
	first := report.Differences[0]
	what := first.Kind.Words()
	if first.OrderID != "" {
		what = first.OrderID + " " + what
	}
	return fmt.Errorf("not every order is accounted for once; differences: %d, the first: %s", report.DifferenceCount, what)
}
