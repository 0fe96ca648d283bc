package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/top"
	"github.com/vigie-dev/vigie/services"
)

const (
	flagOnce  = "once"
	flagEvery = "every"

	topTimeout = 3 * time.Second
	topEvery   = 2 * time.Second
	topWidth   = 100 // of one frame, where no terminal says
)

func topCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "show orders, latency, lag, dead letters and alerts in the terminal", HideHelpCommand: true,
		Description: "Asks Prometheus and shows what it knows, again and again, until q is pressed. What it does not\n" +
			"know is shown as ?, and is null in JSON, never 0.\n\n" +
			"   vigie top\n" +
			"   vigie top --once\n" +
			"   vigie top --once --json | jq -e '.alerts == []'\n\n" +
			"NO_COLOR takes the colours away.",
		Flags: []cli.Flag{
			dataFlag(), urlFlag(flagPrometheus, "", "Prometheus (default: that of the instance in --"+flagData+", else "+defaultPrometheus+")"),
			&cli.BoolFlag{Name: flagOnce, Usage: "write one frame as text and exit"},
			jsonFlag("with --" + flagOnce + ": write it as one JSON object"),
			&duration.Flag{Name: flagEvery, Value: topEvery, Usage: "how long to wait between two frames", Validator: positiveDuration},
			&duration.Flag{Name: flagTimeout, Value: topTimeout, Usage: "how long each answer of Prometheus may take", Validator: positiveDuration},
		},
		Action: func(ctx context.Context, c *cli.Command) error { return runTop(ctx, c, registry) },
	}
}

// nearestPrometheus is the one that is named, else that of the instance in the data
// folder.
func nearestPrometheus(c *cli.Command) string {
	named := baseURL(c, flagPrometheus)
	if running, err := instance.Read(c.String(flagData)); named == "" && err == nil {
		named = running.Prometheus
	}
	return cmp.Or(named, defaultPrometheus)
}

func runTop(ctx context.Context, c *cli.Command, registry services.Registry) error {
	if c.Bool(flagJSON) && !c.Bool(flagOnce) {
		return misusef("top: --%s needs --%s", flagJSON, flagOnce)
	}
	client, err := promapi.New(promapi.Config{URL: nearestPrometheus(c), Timeout: c.Duration(flagTimeout)})
	if err != nil {
		return err
	}
	defer client.Close()
	watcher := top.Watcher{Prometheus: client, Now: time.Now, Words: plain}
	for _, s := range registry {
		watcher.Services = append(watcher.Services, top.Service{Name: s.Name, Group: s.Group})
	}
	out := c.Root().Writer
	switch {
	case c.Bool(flagJSON):
		return writeJSON(out, watcher.Look(ctx))
	case c.Bool(flagOnce):
		_, err := fmt.Fprint(colorprofile.NewWriter(out, os.Environ()), watcher.Look(ctx).Text(topWidth))
		return err
	case !isTerminal(out):
		return errors.New("top needs a terminal; --" + flagOnce + " writes one frame as text")
	default:
		return top.Show(ctx, watcher, c.Duration(flagEvery), c.Root().Reader, out)
	}
}
