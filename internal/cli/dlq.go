package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Names of the dlq commands' flags.
const (
	flagAllLetters = "all-letters"
	flagAgain      = "again"
	flagOlderThan  = "older-than"
	flagNewerThan  = "newer-than"
)

func dlqCommand() *cli.Command {
	c := &cli.Command{
		Name: "dlq", Usage: "list, show, replay and purge dead letters", HideHelpCommand: true,
		Description: "A record that cannot be processed is set aside on " + banking.TopicOrdersDLQ + " or " + banking.TopicPaymentsDLQ + ",\n" +
			"with the reason. Once the cause is fixed, replay it:\n\n" +
			"   vigie dlq list                              what waits, the oldest first\n" +
			"   vigie dlq show orders.dlq/1/42              one letter whole\n" +
			"   vigie dlq replay orders.dlq/1/42            publish its record once more\n" +
			"   vigie dlq replay --reason authoriser        all that failed for one reason\n" +
			"   vigie dlq purge --order order-7             give one up for good\n\n" +
			"A replayed order is decided once, however often it is replayed.",
		Flags:    kafkaFlags(defaultBroker),
		Commands: []*cli.Command{dlqListCommand(), dlqShowCommand(), dlqReplayCommand(), dlqPurgeCommand()},
		Action:   dlqHelp,
	}
	for _, sub := range c.Commands {
		sub.HideHelpCommand = true
		sub.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error { return err }
	}
	return c
}

// dlqHelp answers where no command of dlq was named.
func dlqHelp(_ context.Context, c *cli.Command) error {
	if c.Args().Present() {
		return fmt.Errorf("dlq has no command %q; it has list, show, replay and purge", c.Args().First())
	}
	return cli.ShowSubcommandHelp(c)
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
		&cli.DurationFlag{Name: flagOlderThan, HideDefault: true, Category: "Which letters", Usage: "only those set aside longer ago, such as 90m or 48h"},
		&cli.DurationFlag{Name: flagNewerThan, HideDefault: true, Category: "Which letters", Usage: "only those set aside since, such as 90m or 48h"},
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
			return f, err
		}
		if !slices.Contains(deadletters.Topics(), id.Topic) {
			return f, fmt.Errorf("%s: no dead-letter topic; they are %v", text, deadletters.Topics())
		}
		f.IDs = append(f.IDs, id)
	}
	if d := c.Duration(flagOlderThan); d != 0 {
		f.Before = time.Now().Add(-d)
	}
	if d := c.Duration(flagNewerThan); d != 0 {
		f.After = time.Now().Add(-d)
	}
	return f, nil
}

// withLetters connects to the cluster whose dead letters are meant, reads the
// letters that the filter chooses, and has work use them while connected.
func withLetters(
	ctx context.Context, c *cli.Command, f deadletters.Filter, work func(deadletters.Source, deadletters.Listing) error,
) (err error) {
	cfg, err := kafkaConfig(c, "vigie-dlq", defaultBroker)
	if err != nil {
		return err
	}
	client, err := kafka.Connect(ctx, cfg, c.Duration(flagPatience))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	source := deadletters.Source{Kafka: cfg, Client: client}
	listing, err := listLetters(ctx, c, source, f)
	if err != nil {
		return err
	}
	return work(source, listing)
}

// listLetters reads the letters that the filter chooses, with a progress bar.
func listLetters(ctx context.Context, c *cli.Command, source deadletters.Source, f deadletters.Filter) (deadletters.Listing, error) {
	bar := newBar(c.Root().ErrWriter, "reading dead letters")
	defer bar.finish()
	listing, err := source.List(ctx, f, bar.progress)
	if errors.Is(err, deadletters.ErrNoTopic) {
		return listing, fmt.Errorf("%w; `vigie topics` creates the topics", err)
	}
	return listing, err
}
