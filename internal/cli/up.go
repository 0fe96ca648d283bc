package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	readyTimeout = 60 * time.Second
	readyPoll    = 20 * time.Millisecond
)

func upCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "start the whole system in this process",
		Description: "Starts the embedded broker (unless --" + flagBrokers + " names another), creates the topics,\n" +
			"starts " + listed(registry.Names()) + ", and says where to look.\n\n" + telemetryHelp,
		HideHelpCommand: true,
		Flags: slices.Concat(kafkaFlags("the embedded broker"), []cli.Flag{sessionFlag(), brokerAddrFlag()}, storageFlags(),
			addrFlags(registry), []cli.Flag{pprofFlag(), stopFlag()}, httpFlags(registry...), logFlags(), ownFlags(registry...)),
		Action: func(ctx context.Context, c *cli.Command) error { return up(ctx, c, registry) },
	}
}

func up(ctx context.Context, c *cli.Command, registry services.Registry) (err error) {
	// The services share one writer: their lines must not mix.
	c.Root().ErrWriter = telemetry.NewLineWriter(c.Root().ErrWriter)
	profiles, err := startProfiles(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profiles.stop(ctx, c)) }()
	addresses := brokers(c)
	if len(addresses) == 0 {
		broker, err := startBroker(ctx, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, broker.Close()) }()
		var cancel context.CancelFunc
		ctx, cancel = untilFailed(ctx, broker)
		defer cancel()
		addresses = []string{broker.Address()}
		if err := alignOwn(ctx, c, addresses); err != nil && ctx.Err() == nil {
			return err
		}
	}
	all, err := startAll(ctx, c, registry, addresses)
	if err != nil || all == nil {
		return err
	}
	printWelcome(c.Root().Writer, registry, addresses, all, whatClientsNeed(c, registry)+whereTelemetryGoes()+profiles.where())
	failure := watch(ctx, all...)
	fmt.Fprintln(c.Root().Writer, "stopping; a second signal exits at once")
	// What reads no topic first: no new orders while the others finish theirs.
	var sources, others []*service.Service
	for i, s := range registry {
		if s.Group == "" {
			sources = append(sources, all[i])
		} else {
			others = append(others, all[i])
		}
	}
	stopping, cancel := stopContext(ctx, c)
	defer cancel()
	return errors.Join(failure, stopAll(stopping, sources...), stopAll(stopping, others...))
}

// alignOwn gives the embedded broker's topics the settings that they need: the
// folder may be of an earlier version.
func alignOwn(ctx context.Context, c *cli.Command, addresses []string) error {
	cfg, err := kafkaConfig(c, "vigie-up", addresses...)
	if err != nil {
		return err
	}
	return prepareTopics(ctx, cfg, func(_ *kafka.Client, _ []string, changed []kafka.Concern) error {
		for _, change := range changed {
			fmt.Fprintf(c.Root().Writer, "set %s of %s\n", strings.Join(change.Changes(), ", "), change.Topic)
		}
		return nil
	})
}

// startAll starts the services side by side and waits until each is ready. On
// an error nothing is left running, nor where it is told to stop meanwhile, which
// is no error.
func startAll(ctx context.Context, c *cli.Command, registry services.Registry, brokers []string) ([]*service.Service, error) {
	all := make([]*service.Service, len(registry))
	var group errgroup.Group
	for i, s := range registry {
		group.Go(func() (err error) {
			all[i], err = startService(ctx, c, s, brokers)
			return err
		})
	}
	err := group.Wait()
	started := slices.DeleteFunc(slices.Clone(all), func(s *service.Service) bool { return s == nil })
	if err == nil {
		err = waitReady(ctx, started)
	}
	if err != nil {
		stopping, cancel := stopContext(ctx, c)
		defer cancel()
		return nil, errors.Join(unlessStopped(ctx, err), stopAll(stopping, started...))
	}
	return all, nil
}

// waitReady returns when every service can do its work.
func waitReady(parent context.Context, running []*service.Service) error {
	ctx, cancel := context.WithTimeout(parent, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for _, s := range running {
		for err := s.Ready(ctx); err != nil; err = s.Ready(ctx) {
			select {
			case failure := <-s.Failed():
				return fmt.Errorf("%s: %w", s.Name(), failure)
			case <-parent.Done():
				return parent.Err()
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", s.Name(), err)
			case <-ticker.C:
			}
		}
	}
	return nil
}

// printWelcome says where to look and what to try; notes are whole lines.
func printWelcome(w io.Writer, registry services.Registry, brokers []string, running []*service.Service, notes string) {
	fmt.Fprintf(w, "\nVigie is up. Kafka: %v\n\n", brokers)
	for _, s := range running {
		fmt.Fprintf(w, "  %-10s %s  (metrics: %[2]s/metrics)\n", s.Name(), s.URL())
	}
	if notes != "" {
		fmt.Fprintf(w, "\n%s", notes)
	}
	fmt.Fprint(w, "\nPlace an order, then follow it:\n\n")
	for i, s := range registry {
		if s.Example != "" {
			fmt.Fprintf(w, "  %s\n", example(s, running[i].URL()))
		}
	}
	fmt.Fprint(w, "\nCtrl-C stops everything.\n\n")
}

// whatClientsNeed is a line about what the examples leave out, "" where that is
// nothing.
func whatClientsNeed(c *cli.Command, registry services.Registry) string {
	var needs []string
	if c.String(flagHTTPCert) != "" {
		needs = append(needs, "--cacert FILE")
	}
	if slices.ContainsFunc(registry, func(s services.Service) bool { return s.Guards != "" && c.String(s.Name+flagTokens) != "" }) {
		needs = append(needs, "-H 'Authorization: Bearer TOKEN'")
	}
	if len(needs) == 0 {
		return ""
	}
	return "Clients need " + strings.Join(needs, " and ") + ", as docs/http.md says.\n"
}
