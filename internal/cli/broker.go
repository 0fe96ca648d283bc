package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/telemetry"
)

func brokerCommand() *cli.Command {
	return &cli.Command{
		Name: "broker", Usage: "run the embedded broker alone, for services in processes of their own",
		HideHelpCommand: true,
		Flags:           append([]cli.Flag{brokerAddrFlag(), dataFlag(), salvageFlag(), jsonFlag("with --" + flagSalvage + ": print one JSON object")}, logFlags()...),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Bool(flagSalvage) {
				return salvage(ctx, c)
			}
			if c.Bool(flagJSON) {
				return misusef("broker: --%s needs --%s", flagJSON, flagSalvage)
			}
			b, err := startBroker(ctx, c, nil)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Root().Writer, "the embedded broker listens on %s (Ctrl-C stops it)\n", b.Address())
			select {
			case <-ctx.Done():
			case <-b.Failed(): //nolint:errcheck // Close says why
			}
			return b.Close()
		},
	}
}

func salvageFlag() cli.Flag {
	return &cli.BoolFlag{
		Name:  flagSalvage,
		Usage: "give up what is damaged of the broker in the data folder, keep it aside there, and exit; every whole record stays",
	}
}

// salvage gives up what is damaged of a broker that does not start for it.
func salvage(ctx context.Context, c *cli.Command) error {
	log, err := partLog(ctx, c, "broker")
	if err != nil {
		return err
	}
	places, err := embedded.Salvage(c.String(flagData), log)
	if err != nil {
		return err
	}
	if c.Bool(flagJSON) {
		return writeJSON(c.Root().Writer, salvaged{places})
	}
	if places == 0 {
		fmt.Fprintln(c.Root().Writer, "nothing is damaged, and nothing was changed")
		return nil
	}
	fmt.Fprintf(c.Root().Writer, "places given up: %d; their bytes are kept aside in the data folder. Start again, then run `vigie audit`\n", places)
	return nil
}

// salvaged is what a salvage did. Fields are added, never renamed.
type salvaged struct {
	PlacesGivenUp int `json:"placesGivenUp"`
}

// partLog is the log of an embedded part. Its telemetry sends nothing away, so
// that there is nothing to shut down.
func partLog(ctx context.Context, c *cli.Command, name string) (*slog.Logger, error) {
	t, err := telemetry.Setup(ctx, telemetry.Config{
		Service: name, Version: programVersion(),
		LogWriter: c.Root().ErrWriter, LogFormat: logFormat(c), LogLevel: logLevel(c),
	})
	if err != nil {
		return nil, err
	}
	return t.Logger(), nil
}

// startBroker starts the embedded broker, which takes every client: settings of
// a secured one must not be skipped. Faults stand in the gate, where there is one.
func startBroker(ctx context.Context, c *cli.Command, gate *faults.Gate) (*embedded.Broker, error) {
	security, err := kafkaSecurity(c)
	if err != nil {
		return nil, err
	}
	if security.TLS || security.Mechanism != "" {
		return nil, misusef("the embedded broker has neither TLS nor SASL%s", check(flagBrokers, flagTLS, flagSASLMechanism))
	}
	log, err := partLog(ctx, c, "broker")
	if err != nil {
		return nil, err
	}
	cfg := embedded.Config{
		Address: listenAddress(c, flagBrokerAddr), Folder: c.String(flagData), Log: log,
		// Decisions outlive what could be decided again, by size as by time. A
		// decision is about as large as its order. Purges stand among letters, of
		// which strangers can make many.
		TopicBytes: map[string]int64{
			banking.TopicOrdersCreated: embedded.RetentionBytes / 2, banking.TopicOrdersDLQ: 4 * embedded.RetentionBytes,
		},
	}
	if gate != nil {
		cfg.Before = gate.Before
	}
	return embedded.Start(ctx, cfg)
}

func topicsCommand() *cli.Command {
	return &cli.Command{
		Name: "topics", Usage: "create the topics that do not exist, and set those that do", HideHelpCommand: true,
		Description: "Makes the retention of topics that exist longer and the size that they take larger where they are less than is\n" +
			"needed, and says what it has changed; it makes neither less. What else endangers the promise is listed.",
		Flags:  append(kafkaFlags(brokerOfInstance()), instanceFlag(), jsonFlag("print one JSON object")),
		Action: onInstance(topics),
	}
}

// prepared is what became of the topics. Fields are added, never renamed.
type prepared struct {
	Topics   int            `json:"topics"`
	Created  []string       `json:"created"`
	Changed  []topicChange  `json:"changed"`
	Concerns []topicConcern `json:"concerns"` // what is left
}

type topicChange struct {
	Topic    string   `json:"topic"`
	Settings []string `json:"settings"` // NAME=VALUE
	Why      string   `json:"why"`
}

type topicConcern struct {
	Topic string `json:"topic"`
	What  string `json:"what"`
	Fix   string `json:"fix"`
}

func topics(ctx context.Context, c *cli.Command) error {
	cfg, err := kafkaConfig(c, "vigie-topics", defaultBroker)
	if err != nil {
		return err
	}
	return prepareTopics(ctx, cfg, func(client *kafka.Client, created []string, changed []kafka.Concern) error {
		done := prepared{Topics: len(banking.Topics()), Created: append([]string{}, created...), Changed: []topicChange{}, Concerns: []topicConcern{}}
		for _, change := range changed {
			done.Changed = append(done.Changed, topicChange{change.Topic, change.Changes(), change.Text})
		}
		left, err := kafka.CheckTopics(ctx, client, banking.Topics())
		for _, concern := range left {
			done.Concerns = append(done.Concerns, topicConcern{concern.Topic, concern.Text, concern.Fix})
		}
		if c.Bool(flagJSON) {
			return errors.Join(writeJSON(c.Root().Writer, done), err)
		}
		return errors.Join(done.write(c.Root().Writer), err)
	})
}

// write says it to people.
func (p prepared) write(w io.Writer) error {
	var text strings.Builder
	for _, name := range p.Created {
		fmt.Fprintf(&text, "created %s\n", name)
	}
	for _, change := range p.Changed {
		fmt.Fprintf(&text, "set %s of %s: %s\n", strings.Join(change.Settings, ", "), change.Topic, change.Why)
	}
	fmt.Fprintf(&text, "%d topics are there, %d of them new\n", p.Topics, len(p.Created))
	for _, concern := range p.Concerns {
		fmt.Fprintf(&text, "%s: %s; change it with `%s`\n", concern.Topic, concern.What, concern.Fix)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// prepareTopics creates the topics that do not exist, sets those that do, and
// says to done what it did.
func prepareTopics(ctx context.Context, cfg kafka.Config, done func(*kafka.Client, []string, []kafka.Concern) error) (err error) {
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	created, err := kafka.EnsureTopics(ctx, client, banking.Topics())
	if err != nil {
		return err
	}
	changed, err := kafka.AlignTopics(ctx, client, banking.Topics())
	if err != nil {
		return err
	}
	return done(client, created, changed)
}
