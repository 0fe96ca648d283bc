package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	alertsName    = "alerts"
	alertsAddress = "127.0.0.1:3099"
)

func alertsCommand() *cli.Command {
	return &cli.Command{
		Name:  alertsName,
		Usage: "log the alerts that Alertmanager sends",
		Description: "Takes Alertmanager's webhook notifications at /alerts and logs each alert: a receiver that works\n" +
			"before any other is set up. monitoring/alertmanager.yml names it.",
		HideHelpCommand: true,
		Flags:           append([]cli.Flag{addrFlag(alertsName, alertsAddress)}, logFlags()...),
		Action:          alerts,
	}
}

func alerts(ctx context.Context, c *cli.Command) error {
	stack := &lifecycle.Stack{}
	address, err := startAlerts(ctx, c, stack)
	if err == nil {
		fmt.Fprintf(c.Root().Writer, "alerts are taken at http://%s/alerts (Ctrl-C stops it)\n", address)
		select {
		case err = <-stack.Failed():
		case <-ctx.Done():
		}
	}
	stopping, cancel := stopContext(ctx)
	defer cancel()
	return errors.Join(err, stack.Stop(stopping))
}

// startAlerts starts the server on a stack and returns where it listens.
func startAlerts(ctx context.Context, c *cli.Command, stack *lifecycle.Stack) (string, error) {
	t, err := telemetry.Setup(ctx, telemetry.Config{
		Service: alertsName, Version: programVersion(),
		LogWriter: c.Root().ErrWriter, LogFormat: logFormat(c), LogLevel: logLevel(c),
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", alertsName, err)
	}
	stack.OnStop("telemetry", t.Shutdown)
	listeners, err := httpapi.ListenAll(ctx, c.String(alertsName+flagAddr))
	if err != nil {
		return "", fmt.Errorf("%s: %w", alertsName, err)
	}
	server := httpapi.NewServer(newAlertSink(t.Logger()), t.Logger(), httpapi.ServerConfig{})
	stack.Go("http server", func(ctx context.Context) error { return server.Serve(ctx, listeners...) })
	stack.OnStop("http requests", server.Shutdown)
	return listeners[0].Addr().String(), nil
}
