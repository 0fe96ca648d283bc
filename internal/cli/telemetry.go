package cli

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/profiling"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

// telemetryHelp names the settings that have no flag, since they are every
// OpenTelemetry program's.
const telemetryHelp = "OTEL_TRACES_EXPORTER=otlp and OTEL_LOGS_EXPORTER=otlp send traces and logs to the collector at\n" +
	"OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4318); unset, nothing leaves the process. The other\n" +
	"standard OTEL_* variables apply: OTEL_EXPORTER_OTLP_PROTOCOL, _HEADERS, OTEL_TRACES_SAMPLER, …"

// whereTelemetryGoes is a line about traces and logs that leave the process,
// "" where none do.
func whereTelemetryGoes() string {
	traces, logs := otlp.Destinations()
	switch {
	case traces != "" && logs != "":
		return fmt.Sprintf("Traces go to %s, logs to %s.\n", traces, logs)
	case traces != "":
		return fmt.Sprintf("Traces go to %s.\n", traces)
	case logs != "":
		return fmt.Sprintf("Logs go to %s.\n", logs)
	default:
		return ""
	}
}

// profileServer is the server of the process's profiles, one for all its services,
// or none.
type profileServer struct {
	stack lifecycle.Stack
	url   string
}

// startProfiles serves them where the flag says so.
func startProfiles(ctx context.Context, c *cli.Command) (*profileServer, error) {
	p := &profileServer{}
	address := c.String(flagPprof)
	if address == "" {
		return p, nil
	}
	var err error
	p.url, err = profiling.Start(ctx, &p.stack, address)
	return p, err
}

// where is a line for people.
func (p *profileServer) where() string {
	if p.url == "" {
		return ""
	}
	return fmt.Sprintf("Profiles of this process are at %s.\n", p.url)
}

func (p *profileServer) stop(ctx context.Context) error {
	ctx, cancel := stopContext(ctx)
	defer cancel()
	return p.stack.Stop(ctx)
}
