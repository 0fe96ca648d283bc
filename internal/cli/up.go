package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	readyTimeout = 60 * time.Second
	readyPoll    = 20 * time.Millisecond
)

func upCommand() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "start the whole system in this process",
		Description: "Starts the embedded broker (unless --" + flagBrokers + " names another), creates the topics,\n" +
			"starts commande, paiement, suivi and analyseur, and says where to look.\n\n" + telemetryHelp,
		HideHelpCommand: true,
		Flags: slices.Concat(kafkaFlags("the embedded broker"), []cli.Flag{
			sessionFlag(), brokerAddrFlag(), dataFlag(), databaseFlag(), databaseFileFlag(), databaseConnectionsFlag(), retentionFlag(),
			addrFlag(commande.Name, commande.DefaultAddress), addrFlag(suivi.Name, suivi.DefaultAddress),
			addrFlag(analyseur.Name, analyseur.DefaultAddress), addrFlag(paiement.Name, paiement.DefaultAddress), pprofFlag(),
		}, httpFlags(commande.Name, suivi.Name, analyseur.Name), logFlags(), commandeFlags(), paiementFlags()),
		Action: up,
	}
}

func up(ctx context.Context, c *cli.Command) (err error) {
	// Four services share one writer: their lines must not mix.
	c.Root().ErrWriter = telemetry.NewLineWriter(c.Root().ErrWriter)
	profiles, err := startProfiles(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profiles.stop(ctx)) }()
	addresses := brokers(c)
	if len(addresses) == 0 {
		broker, err := startBroker(ctx, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, broker.Close()) }()
		addresses = []string{broker.Address()}
	}
	all, err := startAll(ctx, c, addresses)
	if err != nil {
		return err
	}
	printWelcome(c.Root().Writer, addresses, all, whatClientsNeed(c)+whereTelemetryGoes()+profiles.where())
	failure := watch(ctx, all...)
	fmt.Fprintln(c.Root().Writer, "stopping; a second signal exits at once")
	// commande first: no new orders while the others finish theirs.
	stopping, cancel := stopContext(ctx)
	defer cancel()
	return errors.Join(failure, stopAll(stopping, all[0]), stopAll(stopping, all[1:]...))
}

// startAll starts the services side by side and waits until each is ready.
// On an error nothing is left running.
func startAll(ctx context.Context, c *cli.Command, brokers []string) ([]*service.Service, error) {
	starters := []starter{startCommande, startSuivi, startAnalyseur, startPaiement}
	all := make([]*service.Service, len(starters))
	var group errgroup.Group
	for i, start := range starters {
		group.Go(func() (err error) {
			all[i], err = start(ctx, c, brokers)
			return err
		})
	}
	err := group.Wait()
	started := slices.DeleteFunc(slices.Clone(all), func(s *service.Service) bool { return s == nil })
	if err == nil {
		err = waitReady(ctx, started)
	}
	if err != nil {
		stopping, cancel := stopContext(ctx)
		defer cancel()
		return nil, errors.Join(err, stopAll(stopping, started...))
	}
	return all, nil
}

// waitReady returns when every service can do its work.
func waitReady(ctx context.Context, services []*service.Service) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for _, s := range services {
		for err := s.Ready(ctx); err != nil; err = s.Ready(ctx) {
			select {
			case failure := <-s.Failed():
				return fmt.Errorf("%s: %w", s.Name(), failure)
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", s.Name(), err)
			case <-ticker.C:
			}
		}
	}
	return nil
}

// printWelcome says where to look and what to try; notes are whole lines.
func printWelcome(w io.Writer, brokers []string, services []*service.Service, notes string) {
	fmt.Fprintf(w, "\nVigie is up. Kafka: %v\n\n", brokers)
	for _, s := range services {
		fmt.Fprintf(w, "  %-10s %s  (metrics: %[2]s/metrics)\n", s.Name(), s.URL())
	}
	if notes != "" {
		fmt.Fprintf(w, "\n%s", notes)
	}
	fmt.Fprintf(w, "\nPlace an order, then follow it:\n\n  %s\n  curl %s/orders/order-1/status\n  curl %s/statistics\n\nCtrl-C stops everything.\n\n",
		exampleCurl(services[0].URL()), services[1].URL(), services[2].URL())
}
