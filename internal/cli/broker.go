package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
)

func brokerCommand() *cli.Command {
	return &cli.Command{
		Name: "broker", Usage: "run the embedded broker alone, for services in processes of their own",
		HideHelpCommand: true,
		Flags:           []cli.Flag{brokerAddrFlag(), dataFlag()},
		Action: func(ctx context.Context, c *cli.Command) error {
			b, err := startBroker(ctx, c)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Root().Writer, "the embedded broker listens on %s (Ctrl-C stops it)\n", b.Address())
			<-ctx.Done()
			return b.Close()
		},
	}
}

// startBroker starts the embedded broker, which takes every client: settings of
// a secured one must not be skipped.
func startBroker(ctx context.Context, c *cli.Command) (*embedded.Broker, error) {
	security, err := kafkaSecurity(c)
	if err != nil {
		return nil, err
	}
	if security.TLS || security.Mechanism != "" {
		return nil, fmt.Errorf("the embedded broker has neither TLS nor SASL%s", check(flagBrokers, flagTLS, flagSASLMechanism))
	}
	return embedded.Start(ctx, embedded.Config{Address: c.String(flagBrokerAddr), Folder: c.String(flagData)})
}

func topicsCommand() *cli.Command {
	return &cli.Command{
		Name: "topics", Usage: "create the topics that do not exist", HideHelpCommand: true,
		Flags:  kafkaFlags(defaultBroker),
		Action: topics,
	}
}

func topics(ctx context.Context, c *cli.Command) error {
	cfg, err := kafkaConfig(c, "vigie-topics", defaultBroker)
	if err != nil {
		return err
	}
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	created, err := kafka.EnsureTopics(ctx, client, banking.Topics())
	for _, name := range created {
		fmt.Fprintf(c.Root().Writer, "created %s\n", name)
	}
	if err == nil {
		fmt.Fprintf(c.Root().Writer, "%d topics are there, %d of them new\n", len(banking.Topics()), len(created))
	}
	return errors.Join(err, client.Close())
}
