package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
)

// errNotConfirmed ends a reset that was not confirmed.
var errNotConfirmed = errors.New("not confirmed; nothing was changed")

func resetCommand() *cli.Command {
	return &cli.Command{
		Name: "reset", Usage: "clear the services' state and consumer offsets together; the topics stay", HideHelpCommand: true,
		Description: "paiement, suivi and analyseur forget everything and read the topics from their start when they are\n" +
			"started again. Decisions that were published stay final, and order ids go on: nothing is paid twice.\n" +
			"The services must be stopped, and without --" + flagBrokers + " the embedded broker too.\n" +
			"To forget the orders as well, delete the data folder instead.",
		Flags: append(kafkaFlags("the embedded broker, run from the data folder"),
			brokerAddrFlag(), dataFlag(), databaseFlag(), databaseFileFlag(),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		),
		Action: reset,
	}
}

func reset(ctx context.Context, c *cli.Command) (err error) {
	database, err := databaseURL(c)
	if err != nil {
		return err
	}
	if err := confirm(c, "This clears what paiement, suivi and analyseur have stored in "+storage.Redacted(database)+"."); err != nil {
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
	client, err := kafka.Connect(ctx, cfg, c.Duration(flagPatience))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := kafka.EnsureTopics(client, banking.Topics()); err != nil {
		return err
	}

	ids, err := commande.OpenStorage(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	held, err := storage.Hold(ctx, database, paiement.Name, suivi.Name, analyseur.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	if err := kafka.DeleteGroups(client, banking.GroupPaiement, banking.GroupSuivi, banking.GroupAnalyseur); err != nil {
		return err
	}
	if err := errors.Join(held.Clear(ctx), commande.SkipIDs(ctx, ids, client, cfg)); err != nil {
		return err
	}
	fmt.Fprintln(c.Root().Writer, "state and consumer offsets are cleared; start the services to have the state rebuilt from the topics")
	return nil
}

// confirm asks before what cannot be undone, unless --yes.
func confirm(c *cli.Command, what string) error {
	if c.Bool("yes") {
		return nil
	}
	fmt.Fprintf(c.Root().Writer, "%s\nType yes to go on: ", what)
	answer, _ := bufio.NewReader(c.Root().Reader).ReadString('\n') // no answer is a no
	if strings.TrimSpace(answer) != "yes" {
		return errNotConfirmed
	}
	return nil
}
