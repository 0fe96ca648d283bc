package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
)

// starter starts one service as a command's flags say.
type starter func(ctx context.Context, c *cli.Command, brokers []string) (*service.Service, error)

func startCommande(ctx context.Context, c *cli.Command, brokers []string) (*service.Service, error) {
	settings, err := settings(c, commande.Name, brokers)
	if err != nil {
		return nil, err
	}
	return commande.Start(ctx, settings, commande.Config{AckTimeout: c.Duration(flagAckTimeout)})
}

func startPaiement(ctx context.Context, c *cli.Command, brokers []string) (*service.Service, error) {
	settings, err := settings(c, paiement.Name, brokers)
	if err != nil {
		return nil, err
	}
	return paiement.Start(ctx, settings, paiementConfig(c))
}

func startSuivi(ctx context.Context, c *cli.Command, brokers []string) (*service.Service, error) {
	settings, err := settings(c, suivi.Name, brokers)
	if err != nil {
		return nil, err
	}
	return suivi.Start(ctx, settings)
}

func startAnalyseur(ctx context.Context, c *cli.Command, brokers []string) (*service.Service, error) {
	settings, err := settings(c, analyseur.Name, brokers)
	if err != nil {
		return nil, err
	}
	return analyseur.Start(ctx, settings)
}

func commandeCommand() *cli.Command {
	return serviceCommand(commande.Name, "take orders over HTTP and publish them", startCommande,
		serviceFlags(commande.Name, commande.DefaultAddress, commandeFlags()...))
}

func paiementCommand() *cli.Command {
	return serviceCommand(paiement.Name, "decide each payment once", startPaiement,
		serviceFlags(paiement.Name, paiement.DefaultAddress, append(paiementFlags(), sessionFlag())...))
}

func suiviCommand() *cli.Command {
	return serviceCommand(suivi.Name, "show every order's status and history", startSuivi,
		serviceFlags(suivi.Name, suivi.DefaultAddress, sessionFlag()))
}

func analyseurCommand() *cli.Command {
	return serviceCommand(analyseur.Name, "keep running statistics", startAnalyseur,
		serviceFlags(analyseur.Name, analyseur.DefaultAddress, sessionFlag()))
}

func serviceCommand(name, usage string, start starter, flags []cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, Description: telemetryHelp, Flags: flags, HideHelpCommand: true,
		Action: func(ctx context.Context, c *cli.Command) (err error) {
			addresses := brokers(c)
			if len(addresses) == 0 {
				addresses = []string{defaultBroker}
			}
			profiles, err := startProfiles(ctx, c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, profiles.stop(ctx)) }()
			s, err := start(ctx, c, addresses)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Root().Writer, "%s answers at %s (Ctrl-C stops it)\n%s%s", name, s.URL(), whereTelemetryGoes(), profiles.where())
			failure := watch(ctx, s)
			stopping, cancel := stopContext(ctx)
			defer cancel()
			return errors.Join(failure, stopAll(stopping, s))
		},
	}
}

// watch waits for the signal to stop, or for a service to fail.
func watch(ctx context.Context, services ...*service.Service) error {
	failed := make(chan error, len(services))
	for _, s := range services {
		go func() {
			select {
			case err := <-s.Failed():
				failed <- fmt.Errorf("%s: %w", s.Name(), err)
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
