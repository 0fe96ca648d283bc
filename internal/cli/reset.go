package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
			"started again. Decisions and purges that are in the topics stay final, and order ids go on: nothing is\n" +
			"paid twice. Orders that are so old that their decisions may have left the topics are set aside, not\n" +
			"decided, unless paiement is started with --decide-from.\n\n" +
			"It keeps the topics, the order ids and the idempotency keys. What the topics no longer hold is gone:\n" +
			"suivi shows no older order, and analyseur counts what is there.\n\n" +
			"The services must be stopped, and without --" + flagBrokers + " the embedded broker too. Cut short by\n" +
			"a crash, run it again, or just start the services.\n" +
			"To forget the orders as well, delete the data folder instead.",
		Flags: append(kafkaFlags("the embedded broker, run from the data folder"),
			append(databaseFlags(), brokerAddrFlag(), yesFlag())...,
		),
		Action: func(ctx context.Context, c *cli.Command) error { return reset(ctx, c, registry.Consumers()) },
	}
}

// reset clears what the consumers have stored and where their groups are. It
// asks once nothing stands in its way: the broker answers, the storages are
// locked, and no group has members.
func reset(ctx context.Context, c *cli.Command, consumers services.Registry) (err error) {
	database, err := databaseURL(c)
	if err != nil {
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
	if err := kafka.CheckIdle(client, groupsOf(consumers)...); err != nil {
		return err
	}
	question, err := whatResetDoes(ctx, client, consumers.Names(), database)
	if err != nil {
		return err
	}
	if err := confirm(c, question); err != nil {
		return err
	}
	foreign, err := clearAll(ctx, ids, locked, client, cfg, groupsOf(consumers))
	if err != nil {
		return err
	}
	if foreign > 0 {
		fmt.Fprintf(c.Root().Writer, "%d records name orders that cannot have been taken here; order ids go on without regard to them\n", foreign)
	}
	fmt.Fprintln(c.Root().Writer, "state and consumer offsets are cleared; start the services to have the state rebuilt from the topics")
	return nil
}

func groupsOf(consumers services.Registry) []string {
	var groups []string
	for _, s := range consumers {
		groups = append(groups, s.Group)
	}
	return groups
}

// clearAll does it in an order in which a crash after any step leaves a system
// that can be started, or reset again, and has neither lost nor doubled anything.
// Ids only move forward. A storage is cleared all or nothing, and a service
// whose storage is empty begins at the start of the topics, wherever its group
// is. The groups come last: their offsets are what a storage is refused by that is
// an older copy, and none must be left that they no longer stand beside. It
// returns what [commande.SkipIDs] does.
func clearAll(
	ctx context.Context, ids *storage.Store, locked *storage.Locked, client *kafka.Client, cfg kafka.Config, groups []string,
) (foreign int, err error) {
	if foreign, err = commande.SkipIDs(ctx, ids, kafka.Cluster{Config: cfg, Client: client}); err != nil {
		return foreign, err
	}
	if err := locked.Clear(ctx); err != nil {
		return foreign, err
	}
	return foreign, kafka.DeleteGroups(client, groups...)
}

// whatResetDoes says what is cleared and what is kept.
func whatResetDoes(ctx context.Context, client *kafka.Client, names []string, database string) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "This clears what %s have stored in %s, and where they are in the topics.\n", listed(names), storage.Redacted(database))
	text.WriteString("It keeps the order ids, which go on, the idempotency keys, and the topics, from which the state is rebuilt:\n")
	cut := false
	for _, t := range banking.Topics() {
		spans, err := kafka.Bounds(ctx, client, t.Name)
		if err != nil {
			return "", err
		}
		records, missing := int64(0), int64(0)
		for _, s := range spans {
			records, missing = records+s.End-s.Start, missing+s.Start
		}
		fmt.Fprintf(&text, "  %-20s %d records", t.Name, records)
		if missing > 0 {
			fmt.Fprintf(&text, "; %d before them are gone, and what was known from them with this", missing)
			cut = cut || t.Name == banking.TopicPaymentsAuthorized || t.Name == banking.TopicPaymentsRejected
		}
		text.WriteString("\n")
	}
	if cut {
		text.WriteString("Decisions are among what is gone: orders of their time that are still in the topics will be set aside as too_old.\n")
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}
