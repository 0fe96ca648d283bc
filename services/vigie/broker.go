package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/embedded"
	"github.com/vigie-dev/vigie/services/internal/kafka"
)

func brokerCommand() *cli.Command {
	return &cli.Command{
		Name: "broker", Usage: "run the embedded broker alone, for services in processes of their own",
		HideHelpCommand: true,
		Flags:           []cli.Flag{brokerAddrFlag(), dataFlag()},
		Action: func(ctx context.Context, c *cli.Command) error {
			b, err := embedded.Start(ctx, embedded.Config{Address: c.String(flagBrokerAddr), Folder: c.String(flagData)})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Root().Writer, "the embedded broker listens on %s (Ctrl-C stops it)\n", b.Address())
			<-ctx.Done()
			return b.Close()
		},
	}
}

func topicsCommand() *cli.Command {
	return &cli.Command{
		Name: "topics", Usage: "create the topics that do not exist", HideHelpCommand: true,
		Flags: []cli.Flag{
			brokersFlag("Kafka's bootstrap addresses, `HOST:PORT,…` (default: " + defaultBroker + ")"), patienceFlag(),
		},
		Action: topics,
	}
}

func topics(ctx context.Context, c *cli.Command) error {
	cfg := kafka.Config{Brokers: brokers(c), ClientID: "vigie-topics"}
	if len(cfg.Brokers) == 0 {
		cfg.Brokers = []string{defaultBroker}
	}
	client, err := kafka.Connect(ctx, cfg, c.Duration(flagPatience))
	if err != nil {
		return err
	}
	created, err := kafka.EnsureTopics(client, banking.Topics())
	for _, name := range created {
		fmt.Fprintf(c.Root().Writer, "created %s\n", name)
	}
	if err == nil {
		fmt.Fprintf(c.Root().Writer, "%d topics are there, %d of them new\n", len(banking.Topics()), len(created))
	}
	return errors.Join(err, client.Close())
}
