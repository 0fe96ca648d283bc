package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/commande"
)

func resetCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name: "reset", Usage: "clear the services' state and consumer offsets together; the topics stay", HideHelpCommand: true,
		Description: listed(registry.Consumers().Names()) + " forget everything and read the topics from their start when they are\n" +
			"started again. Decisions that were published stay final, and order ids go on: nothing is paid twice.\n" +
			"The services must be stopped, and without --" + flagBrokers + " the embedded broker too.\n" +
			"To forget the orders as well, delete the data folder instead.",
		Flags: append(kafkaFlags("the embedded broker, run from the data folder"),
			append(databaseFlags(), brokerAddrFlag(), yesFlag())...,
		),
		Action: func(ctx context.Context, c *cli.Command) error { return reset(ctx, c, registry.Consumers()) },
	}
}

// reset clears what the consumers have stored and where their groups are, both
// or nothing: either alone would have records read twice or not at all.
func reset(ctx context.Context, c *cli.Command, consumers services.Registry) (err error) {
	database, err := databaseURL(c)
	if err != nil {
		return err
	}
	if err := confirm(c, "This clears what "+listed(consumers.Names())+" have stored in "+storage.Redacted(database)+"."); err != nil {
		return err
	}
	addresses := brokers(c)
	if len(addresses) == 0 {
		broker, err := startBroker(ctx, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, broker.Close()) }()
		addresses = []string{broker.Address()}
	}
	cfg, err := kafkaConfig(c, "vigie-reset", addresses...)
	if err != nil {
		return err
	}
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := kafka.EnsureTopics(ctx, client, banking.Topics()); err != nil {
		return err
	}

	ids, err := commande.OpenStorage(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	locked, err := storage.Lock(ctx, database, consumers.Names()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, locked.Unlock()) }()
	var groups []string
	for _, s := range consumers {
		groups = append(groups, s.Group)
	}
	if err := kafka.DeleteGroups(client, groups...); err != nil {
		return err
	}
	cleared := locked.Clear(ctx)
	foreign, err := commande.SkipIDs(ctx, ids, client, cfg)
	if err := errors.Join(cleared, err); err != nil {
		return err
	}
	if foreign > 0 {
		fmt.Fprintf(c.Root().Writer, "%d records name orders that cannot have been taken here; order ids go on without regard to them\n", foreign)
	}
	fmt.Fprintln(c.Root().Writer, "state and consumer offsets are cleared; start the services to have the state rebuilt from the topics")
	return nil
}
