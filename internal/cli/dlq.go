package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

// Names of the dlq commands' flags.
const (
	flagAllLetters = "all-letters"
	flagAgain      = "again"
	flagOlderThan  = "older-than"
	flagNewerThan  = "newer-than"
)

func dlqCommand() *cli.Command {
	return &cli.Command{
		Name: "dlq", Usage: "list, show, replay and purge dead letters", HideHelpCommand: true,
		Description: "A record that cannot be processed is set aside on " + banking.TopicOrdersDLQ + " or " + banking.TopicPaymentsDLQ + ",\n" +
			"with the reason. Once the cause is fixed, replay it:\n\n" +
			"   vigie dlq list                              what waits, the oldest first\n" +
			"   vigie dlq show orders.dlq/1/42              one letter whole\n" +
			"   vigie dlq replay orders.dlq/1/42            publish its record once more\n" +
			"   vigie dlq replay --reason authoriser        all that failed for one reason\n" +
			"   vigie dlq purge --order order-7             give one up for good\n\n" +
			"A replayed order is decided once, however often it is replayed. A purged one is never decided. Letters\n" +
			"whose order has been decided all the same wait for nobody: they are neither replayed nor purged.",
		Flags:    append(kafkaFlags(brokerOfInstance()), instanceFlag()),
		Commands: []*cli.Command{dlqListCommand(), dlqShowCommand(), dlqReplayCommand(), dlqPurgeCommand()},
		Action:   func(_ context.Context, c *cli.Command) error { return cli.ShowSubcommandHelp(c) },
	}
}

// filterFlags choose letters.
func filterFlags() []cli.Flag {
	var topics []string
	for _, t := range banking.Topics() {
		topics = append(topics, t.Name)
	}
	reasons := append(delivery.Reasons(), deadletters.ReasonForeign)
	return []cli.Flag{
		&cli.StringFlag{Name: "reason", Category: "Which letters", Usage: "only those that failed for this `REASON`: " + strings.Join(reasons, ", "), Validator: oneOf(reasons...)},
		&cli.StringFlag{Name: "group", Category: "Which letters", Usage: "only those that this consumer `GROUP` set aside"},
		&cli.StringFlag{Name: "order", Category: "Which letters", Usage: "only those of the order with this `ID`"},
		&cli.StringFlag{Name: "topic", Category: "Which letters", Usage: "only those on, or from, this `TOPIC`", Validator: oneOf(topics...)},
		&duration.Flag{Name: flagOlderThan, HideDefault: true, Category: "Which letters", Usage: "only those set aside longer ago, such as 90m or 2d"},
		&duration.Flag{Name: flagNewerThan, HideDefault: true, Category: "Which letters", Usage: "only those set aside since, such as 90m or 2d"},
	}
}

// filter reads [filterFlags], and ids from the arguments.
func filter(c *cli.Command, ids []string) (deadletters.Filter, error) {
	f := deadletters.Filter{
		Reason: c.String("reason"), Group: c.String("group"), Order: c.String("order"), Topic: c.String("topic"),
	}
	for _, text := range ids {
		id, err := record.ParsePlace(text)
		if err != nil {
			return f, misusef("%s: %.64q is no letter's id, such as orders.dlq/1/42; `vigie dlq list` shows the ids", path(c), text)
		}
		if !slices.Contains(deadletters.Topics(), id.Topic) {
			like := didYouMean(nearest(id.Topic, deadletters.Topics()))
			return f, misusef("%s: %.64q is on no topic of dead letters; %s", path(c), text, cmp.Or(like, "they are "+listed(deadletters.Topics())))
		}
		f.IDs = append(f.IDs, id)
	}
	older, newer := c.Duration(flagOlderThan), c.Duration(flagNewerThan)
	if older != 0 {
		f.Before = time.Now().Add(-older)
	}
	if newer != 0 {
		f.After = time.Now().Add(-newer)
	}
	if newer != 0 && older >= newer {
		return f, misusef("%s: no letter is older than %s and newer than %s", path(c), duration.Text(older), duration.Text(newer))
	}
	return f, nil
}

// withLetters connects to the cluster whose dead letters are meant, reads the
// letters that the filter chooses, and has work use them while connected.
func withLetters(
	ctx context.Context, c *cli.Command, f deadletters.Filter, work func(letterSource, deadletters.Listing) error,
) (err error) {
	cfg, err := kafkaConfig(c, "vigie-dlq", defaultBroker)
	if err != nil {
		return err
	}
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	source := deadletters.Source{Log: kafka.Cluster{Config: cfg, Client: client}, Topics: client.Topics}
	listing, err := listLetters(ctx, c, source, f)
	if err != nil {
		return err
	}
	return work(letterSource{source, cfg, listing.Looked}, listing)
}

// letterSource is a cluster's letters, and how to publish to that cluster.
type letterSource struct {
	deadletters.Source
	kafka  kafka.Config
	looked map[record.Partition]int64 // up to where decisions were read
}

// listLetters reads the letters that the filter chooses, with a progress bar.
func listLetters(ctx context.Context, c *cli.Command, source deadletters.Source, f deadletters.Filter) (deadletters.Listing, error) {
	bar := newBar(c.Root().ErrWriter, "reading dead letters")
	defer bar.finish()
	listing, err := source.List(ctx, f, bar.draw)
	if errors.Is(err, deadletters.ErrNoTopic) {
		return listing, fmt.Errorf("%w; `vigie topics` creates the topics", err)
	}
	return listing, err
}

func dlqListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the dead letters that wait, the oldest first",
		Description: "   vigie dlq list\n" +
			"   vigie dlq list --reason malformed --older-than 24h\n" +
			"   vigie dlq list --order order-7 --all\n" +
			"   vigie dlq list --json | jq -r 'select(.attempts > 1) | .id'",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: "all", Category: "Which letters", Usage: "also those that have been replayed or purged, or whose order has been decided"},
			jsonFlag("one JSON object per letter and line")),
		Action: onInstance(dlqList),
	}
}

func dlqList(ctx context.Context, c *cli.Command) error {
	f, err := filter(c, nil)
	if err != nil {
		return err
	}
	f.Open = !c.Bool("all")
	return withLetters(ctx, c, f, func(_ letterSource, listing deadletters.Listing) error {
		err := printLetters(c.Root().Writer, listing, f, c.Bool(flagJSON))
		if err == nil && listing.Unread != nil {
			err = fmt.Errorf("the list may lack letters, and what became of them: %w", listing.Unread)
		}
		return err
	})
}

// errNoLetter: no dead letter stands at that place.
var errNoLetter = errors.New("no such dead letter; `vigie dlq list --all` shows those that there are")

func dlqShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show one dead letter whole: error, headers, value", ArgsUsage: "ID",
		Description: "   vigie dlq show orders.dlq/1/42\n" +
			"   vigie dlq show --json orders.dlq/1/42 | jq .value",
		Flags:  []cli.Flag{jsonFlag("one JSON object")},
		Action: onInstance(dlqShow),
	}
}

func dlqShow(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return misusef("dlq show takes one id, such as orders.dlq/1/42; `vigie dlq list` shows the ids")
	}
	f, err := filter(c, c.Args().Slice())
	if err != nil {
		return err
	}
	return withLetters(ctx, c, f, func(source letterSource, listing deadletters.Listing) error {
		var found *deadletters.Whole
		if err := source.Open(ctx, listing.Letters, func(w deadletters.Whole) error {
			found = &w
			return nil
		}); err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("%s: %w", f.IDs[0], errNoLetter)
		}
		return printLetter(c.Root().Writer, *found, c.Bool(flagJSON))
	})
}

func dlqReplayCommand() *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "publish letters' records once more, to the topics they came from", ArgsUsage: "[ID…]",
		Description: "Replays the letters that are named, or all that the filters choose. Letters that have been\n" +
			"replayed or purged before are skipped, and those whose order has been decided all the same.\n" +
			"Replaying is safe at any time, twice, and while an earlier replay is in flight: consumers compare\n" +
			"event ids, so an order is decided once. A record that fails again becomes a new letter.\n\n" +
			"   vigie dlq replay orders.dlq/1/42 orders.dlq/2/7\n" +
			"   vigie dlq replay --reason authoriser --newer-than 2h\n" +
			"   vigie dlq replay --all-letters --json\n" +
			"   vigie dlq replay --again orders.dlq/1/42      although it has been replayed before",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: flagAllLetters, Category: "Which letters", Usage: "every letter that waits"},
			&cli.BoolFlag{Name: flagAgain, Category: "Which letters", Usage: "also letters that have been replayed; a purge is for good"},
			jsonFlag("one JSON object per letter and line, the last one with the totals")),
		Action: onInstance(dlqReplay),
	}
}

func dlqReplay(ctx context.Context, c *cli.Command) error {
	f, err := selection(c)
	if err != nil {
		return err
	}
	return withLetters(ctx, c, f, func(source letterSource, listing deadletters.Listing) error {
		if listing.Unread != nil {
			return fmt.Errorf("nothing was replayed, since it cannot be seen what was purged: %w; try again then", listing.Unread)
		}
		s := newResolving(c, record.Replayed)
		letters := s.pick(f.IDs, listing.Letters, c.Bool(flagAgain))
		err := resolveLetters(ctx, c, s, source, letters)
		return errors.Join(s.finish(), err)
	})
}

// maxNamed bounds the orders that the question before a purge names.
const maxNamed = 5

func dlqPurgeCommand() *cli.Command {
	return &cli.Command{
		Name: "purge", Usage: "give letters up for good, and the orders that wait for them", ArgsUsage: "[ID…]",
		Description: "Marks the letters that are named, or all that the filters choose. Nothing is deleted; the topic's\n" +
			"retention does that. An order whose payment is purged will never be decided, neither paid nor\n" +
			"rejected, also when its client sends it again: a purge cannot be taken back. Letters whose order has\n" +
			"been decided all the same are left as they are.\n\n" +
			"   vigie dlq purge orders.dlq/1/42\n" +
			"   vigie dlq purge --reason malformed --older-than 7d\n" +
			"   vigie dlq purge --all-letters --yes",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: flagAllLetters, Category: "Which letters", Usage: "every letter that waits"},
			yesFlag(),
			jsonFlag("one JSON object per letter and line, the last one with the totals; needs --yes")),
		Action: onInstance(dlqPurge),
	}
}

func dlqPurge(ctx context.Context, c *cli.Command) error {
	f, err := selection(c)
	if err != nil {
		return err
	}
	if c.Bool(flagJSON) && !c.Bool(flagYes) {
		return misusef("dlq purge: --json cannot ask a question; confirm with --yes")
	}
	return withLetters(ctx, c, f, func(source letterSource, listing deadletters.Listing) error {
		if listing.Unread != nil {
			return fmt.Errorf("nothing was purged, since it cannot be seen what was decided, nor could the purge be: %w; try again then", listing.Unread)
		}
		s := newResolving(c, record.Purged)
		letters := s.pick(f.IDs, listing.Letters, false)
		if len(letters) > 0 {
			if err := confirmPurge(c, letters); err != nil {
				return err
			}
		}
		err := resolveLetters(ctx, c, s, source, letters)
		return errors.Join(s.finish(), err)
	})
}

// confirmPurge says what a purge means and, unless --yes, asks.
func confirmPurge(c *cli.Command, letters []deadletters.Letter) error {
	text := fmt.Sprintf("%s will be given up for good and not be replayed.", plural(len(letters), "dead letter"))
	if orders := undecided(letters); len(orders) > 0 {
		named := orders[:min(len(orders), maxNamed)]
		text += fmt.Sprintf("\n%s will never be decided, neither paid nor rejected, which cannot be taken back: %s", plural(len(orders), "order"), printable(strings.Join(named, ", ")))
		if len(named) < len(orders) {
			text += ", …"
		}
	}
	if c.Bool(flagYes) {
		if !c.Bool(flagJSON) {
			fmt.Fprintln(c.Root().Writer, text)
		}
		return nil
	}
	return confirm(c, text)
}

// undecided returns the orders that wait for the letters.
func undecided(letters []deadletters.Letter) []string {
	seen := map[string]bool{}
	var out []string
	for _, l := range letters {
		if l.EventID == "" || seen[l.Key] {
			continue
		}
		seen[l.Key] = true
		out = append(out, cell(l.Key))
	}
	return out
}

// selection reads which letters are to be resolved, and refuses to guess.
func selection(c *cli.Command) (deadletters.Filter, error) {
	f, err := filter(c, c.Args().Slice())
	switch all := c.Bool(flagAllLetters); {
	case err != nil:
		return f, err
	case !all && !f.Narrow():
		return f, misusef("%s: name letters by id or by a filter such as --reason, or take all with --%s", path(c), flagAllLetters)
	case all && f.Narrow():
		return f, misusef("%s: --%s takes every letter; leave it out, or the ids and filters", path(c), flagAllLetters)
	}
	return f, nil
}

// resolveLetters replays or purges letters, with a progress bar.
func resolveLetters(ctx context.Context, c *cli.Command, s *resolving, source letterSource, letters []deadletters.Letter) error {
	if len(letters) == 0 {
		return nil
	}
	bar := newBar(c.Root().ErrWriter, s.verb)
	defer bar.finish()
	reported := int64(0)
	report := func(o deadletters.Outcome) {
		s.take(o)
		reported++
		bar.draw(reported, int64(len(letters)))
	}
	return withResolver(ctx, c, source, func(resolver deadletters.Resolver) error {
		if s.verb == record.Purged {
			return resolver.Purge(ctx, letters, report)
		}
		return resolver.Replay(ctx, letters, report)
	})
}

// flushTime bounds how long a command that has done its work waits for the
// collector.
const flushTime = 5 * time.Second

// withResolver runs work with what replays and purges. Spans carry the letters'
// traces on, and go to the collector where the environment names one; letters
// are resolved whether it takes them or not.
func withResolver(ctx context.Context, c *cli.Command, source letterSource, work func(deadletters.Resolver) error) (err error) {
	t, err := ownTelemetry(ctx, telemetry.Config{Service: "vigie-dlq", LogWriter: io.Discard, LogLevel: slog.LevelError})
	if err != nil {
		return err
	}
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		if lost := t.Shutdown(flush); lost != nil {
			fmt.Fprintf(c.Root().ErrWriter, "the spans of this command did not all reach the collector: %s\n", printable(plain(lost)))
		}
	}()
	inst, err := otelkafka.New(otelkafka.WithTelemetry(t))
	if err != nil {
		return err
	}
	publisher, err := kafka.NewPublisher(ctx, source.kafka)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	return work(deadletters.Resolver{Source: source.Source, Publisher: publisher, Instrument: inst, Looked: source.looked})
}

// ownTelemetry is that of a command which works with records: its spans and logs
// go where the environment says.
func ownTelemetry(ctx context.Context, cfg telemetry.Config) (*telemetry.Telemetry, error) {
	exporters, err := otlp.FromEnvironment(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Version, cfg.SpanExporters, cfg.LogExporters = programVersion(), exporters.Spans, exporters.Logs
	t, err := telemetry.Setup(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, exporters.Shutdown(ctx))
	}
	return t, nil
}
