package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/doctor"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/services"
)

// Names of the doctor's flags.
const (
	flagServicesOnly = "services-only"
	flagPrometheus   = "prometheus-url"
	flagAlertmanager = "alertmanager-url"
	flagGrafana      = "grafana-url"
	flagGrafanaUser  = "grafana-user"
	flagGrafanaPass  = "grafana-password"
	flagJMX          = "jmx-url"
	flagNode         = "node-url"
	flagDashboards   = "dashboards"

	dashboardsFolder = "monitoring/grafana/dashboards"
	doctorTimeout    = 5 * time.Second
)

// errUnwell: the doctor found something, and has said what.
var errUnwell = errors.New("something is wrong, see above")

func doctorCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "look at every part of a running system and say what is wrong", HideHelpCommand: true,
		Description: "Checks Kafka, the topics' settings, how far each consumer group is, the letters that wait, the services, their\n" +
			"certificates and clocks, the exporters, Prometheus, Alertmanager and Grafana, and tries the dashboards' queries.\n" +
			"Says of each part whether it is well, and of what is wrong how to fix it, once for each cause. Changes nothing.\n" +
			"Exits with 0 when all is well, and with 1 when not. A part whose URL is empty is left out. Where `vigie up` runs with a Prometheus of\n" +
			"its own, the rest of the stack is looked at only where it is named.",
		Flags: slices.Concat(kafkaFlags(brokerOfInstance()+"; with --"+flagServicesOnly+" none"), httpClientFlags(), addrFlags(registry), []cli.Flag{
			instanceFlag(),
			&cli.BoolFlag{
				Name: flagServicesOnly, Category: "Monitoring",
				Usage: "look at the services, and Kafka where --" + flagBrokers + " names it, as after `vigie up`",
			},
			urlFlag(flagPrometheus, defaultPrometheus, "Prometheus"),
			urlFlag(flagAlertmanager, "http://127.0.0.1:9093", "Alertmanager"),
			urlFlag(flagGrafana, "http://127.0.0.1:3000", "Grafana"),
			&cli.StringFlag{Name: flagGrafanaUser, Sources: env(flagGrafanaUser), Value: "admin", Usage: "who looks at Grafana's dashboards", Category: "Monitoring"},
			&cli.StringFlag{
				Name: flagGrafanaPass, Sources: env(flagGrafanaPass), Value: "admin", Usage: "with this password",
				Category: "Monitoring", HideDefault: true,
			},
			urlFlag(flagJMX, "http://127.0.0.1:5556/metrics", "the JMX exporter's page"),
			urlFlag(flagNode, "http://127.0.0.1:9100/metrics", "the node exporter's page"),
			&cli.StringFlag{
				Name: flagDashboards, Value: dashboardsFolder, Usage: "`FOLDER` of the dashboards whose queries are tried",
				Category: "Monitoring",
			},
			&duration.Flag{Name: flagTimeout, Value: doctorTimeout, Usage: "how long each answer may take", Validator: positiveDuration},
			jsonFlag("print one JSON object per finding"),
		}),
		Action: onInstance(func(ctx context.Context, c *cli.Command) error { return runDoctor(ctx, c, registry) }),
	}
}

func urlFlag(name, value, what string) cli.Flag {
	return &cli.StringFlag{Name: name, Sources: env(name), Value: value, Usage: "`URL` of " + what, Category: "Monitoring", Validator: aURL}
}

func runDoctor(ctx context.Context, c *cli.Command, registry services.Registry) error {
	transport, err := clientTransport(c)
	if err != nil {
		return err
	}
	cfg := doctor.Config{Timeout: c.Duration(flagTimeout), Transport: transport, Words: plain, Certificates: certificateFiles(c)}
	for _, s := range registry {
		if c.String(s.Name+flagAddr) != "" {
			cfg.Services = append(cfg.Services, doctor.Service{Name: s.Name, URL: serviceURL(c, s)})
		}
	}
	if !c.Bool(flagServicesOnly) || len(brokers(c)) > 0 {
		cfg.Kafka = func(ctx context.Context) (doctor.Kafka, error) { return lookAtKafka(ctx, c, registry) }
	}
	if !c.Bool(flagServicesOnly) {
		cfg.Prometheus, cfg.Alertmanager, cfg.Grafana = baseURL(c, flagPrometheus), baseURL(c, flagAlertmanager), baseURL(c, flagGrafana)
		cfg.GrafanaUser, cfg.GrafanaPass = c.String(flagGrafanaUser), c.String(flagGrafanaPass)
		cfg.JMX, cfg.Node = c.String(flagJMX), c.String(flagNode)
		cfg.Dashboards = dashboards(c)
	}
	if !doctor.Run(ctx, cfg, printFinding(c.Root().Writer, c.Bool(flagJSON))) {
		return errUnwell
	}
	return nil
}

// certificateFiles are those that settings of the command name.
func certificateFiles(c *cli.Command) (all []doctor.CertificateFile) {
	for _, flag := range []string{flagHTTPCA, flagTLSCA, flagTLSCert} {
		if path := c.String(flag); path != "" {
			all = append(all, doctor.CertificateFile{Setting: variable(flag), Path: path})
		}
	}
	return all
}

func baseURL(c *cli.Command, flag string) string { return strings.TrimRight(c.String(flag), "/") }

// dashboards is the folder to read. The default one is left out where it is
// not there: away from a clone of the project there are no files to read.
func dashboards(c *cli.Command) string {
	folder := c.String(flagDashboards)
	if _, err := os.Stat(folder); err != nil && !c.IsSet(flagDashboards) {
		return ""
	}
	return folder
}

// printFinding writes findings: a line each, what follows from it, and what to do.
func printFinding(w io.Writer, asJSON bool) func(doctor.Finding) {
	if asJSON {
		return func(f doctor.Finding) { _ = writeJSON(w, f) }
	}
	return func(f doctor.Finding) {
		mark := "ok   "
		if !f.OK {
			mark = "WRONG"
		}
		_, _ = fmt.Fprintf(w, "%s  %s %s\n", mark, f.Part, printable(strings.ReplaceAll(f.Detail, "\n", "; ")))
		for _, other := range f.Affects {
			_, _ = fmt.Fprintf(w, "       so %s\n", printable(strings.ReplaceAll(other, "\n", "; ")))
		}
		if f.Remedy != "" {
			_, _ = fmt.Fprintf(w, "       → %s\n", printable(f.Remedy))
		}
	}
}
