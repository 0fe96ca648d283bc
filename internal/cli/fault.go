package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/loopback"
	"github.com/vigie-dev/vigie/internal/table"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

const (
	flagFor    = "for"
	flagAll    = "all"
	flagFaults = "faults"

	// faultTimeout is how long a fault may take to begin or to end.
	faultTimeout = 30 * time.Second
)

// errNoSwitches: the running sentinelle lets nobody break things.
var errNoSwitches = errors.New("faults can be started only where `vigie up` listens on this machine's own address alone, or has --" + flagFaults + " and a token")

func faultCommand() *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append(append(askerFlags(), instanceFlag(),
			&cli.StringFlag{
				Name: flagPage, Sources: cli.EnvVars(variablePageURL), Category: "Where to ask", Validator: aURL,
				Usage: "`URL` of a running `vigie up`'s page (default: of the instance which runs in --" + flagData + ", else " + defaultSentinelle() + ")",
			},
			&duration.Flag{Name: flagTimeout, Value: faultTimeout, Category: "Where to ask", Usage: "how long the answer may take", Validator: positiveDuration},
			jsonFlag("print one JSON object")), more...)
	}
	return &cli.Command{
		Name: "fault", Usage: "break something of a running `vigie up`, and watch the alert that tells", HideHelpCommand: true,
		Description: "Breaks one part of the system that runs in the data folder: Kafka, the authoriser, storage, or what strangers do in\n" +
			"the topics. Each fault ends when it is stopped, when its time is up, or with `vigie up`. What is in force is shown on\n" +
			"every page, in the log, by `vigie doctor` and as the metric fault_in_force. Only where the page listens on loopback, or\n" +
			"`vigie up --" + flagFaults + "` wants a token.\n\n" +
			"   vigie fault list\n" +
			"   vigie fault start kafka-frozen --" + flagFor + " 3m\n" +
			"   vigie fault stop --" + flagAll + "\n\n" +
			"docs/faults.md has each fault with its alert, as a test has measured it.",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "show what can be broken, the alert that has to fire, and what is in force", HideHelpCommand: true,
				Flags: flags(), Action: listFaults,
			},
			{
				Name: "start", Usage: "break something for a time", ArgsUsage: "NAME", HideHelpCommand: true,
				Flags: flags(&duration.Flag{
					Name: flagFor, Value: faults.DefaultLength,
					Usage: fmt.Sprintf("how long, from %s to %s", duration.Text(faults.MinLength), duration.Text(faults.MaxLength)), Validator: positiveDuration,
				}), Action: startFault,
			},
			{
				Name: "stop", Usage: "fix what was broken", ArgsUsage: "[NAME]", HideHelpCommand: true,
				Flags:  flags(&cli.BoolFlag{Name: flagAll, Usage: "every fault that is in force"}),
				Action: stopFault,
			},
		},
	}
}

func listFaults(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() > 0 {
		return misusef("fault list takes no name")
	}
	var list sentinelle.FaultList
	if err := askSentinelle(ctx, c, http.MethodGet, "/faults", nil, &list, notBroken); err != nil {
		return err
	}
	if c.Bool(flagJSON) {
		return writeJSON(c.Root().Writer, list)
	}
	all := table.Table{Header: []string{"FAULT", "IN FORCE", "ALERT", "WITHIN", "WHAT HAPPENS"}}
	for _, f := range list.Faults {
		inForce, alert, within := "no", unknownText, unknownText
		if f.InForce {
			inForce = "until " + f.Until.Format(time.TimeOnly)
		}
		if f.Alert != "" {
			alert, within = f.Alert, duration.Text(time.Duration(f.Within*float64(time.Second)))
		}
		does := f.Does
		if f.Leaves != "" {
			does += " It leaves " + f.Leaves + "."
		}
		all.Add(printable(f.Name), inForce, printable(alert), within, printable(does))
	}
	_, err := io.WriteString(c.Root().Writer, all.Plain())
	return err
}

func startFault(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return misusef("fault start takes one name; `vigie fault list` shows them")
	}
	name := c.Args().First()
	var started faults.Status
	form := url.Values{"for": {c.Duration(flagFor).String()}}
	if err := askSentinelle(ctx, c, http.MethodPost, "/faults/"+url.PathEscape(name)+"/start", form, &started, notBroken); err != nil {
		return err
	}
	if c.Bool(flagJSON) {
		return writeJSON(c.Root().Writer, started)
	}
	out := c.Root().Writer
	fmt.Fprintf(out, "%s is in force until %s UTC: %s\n", printable(started.Name), started.Until.UTC().Format(time.TimeOnly), printable(started.Does))
	if started.Alert != "" {
		fmt.Fprintf(out, "%s has to fire within %s, while orders come in. `vigie explain %[1]s` says what to do then.\n",
			printable(started.Alert), duration.Text(time.Duration(started.Within*float64(time.Second))))
	}
	fmt.Fprintf(out, "`vigie fault stop %s` ends it.\n", printable(started.Name))
	return nil
}

func stopFault(ctx context.Context, c *cli.Command) error {
	path := "/faults/stop"
	switch name := c.Args().First(); {
	case c.Args().Len() > 1 || (name == "") != c.Bool(flagAll):
		return misusef("fault stop takes one name, or --%s", flagAll)
	case name != "":
		path = "/faults/" + url.PathEscape(name) + "/stop"
	}
	var stopped sentinelle.StoppedFaults
	if err := askSentinelle(ctx, c, http.MethodPost, path, url.Values{}, &stopped, notBroken); err != nil {
		return err
	}
	switch {
	case c.Bool(flagJSON):
		return writeJSON(c.Root().Writer, stopped)
	case len(stopped.Stopped) == 0:
		fmt.Fprintln(c.Root().Writer, "nothing was in force")
	default:
		fmt.Fprintf(c.Root().Writer, "fixed: %s\n", printable(strings.Join(stopped.Stopped, ", ")))
	}
	return nil
}

// notBroken says what sentinelle's refusal means to who breaks things.
func notBroken(p httpapi.Problem) error {
	switch {
	case strings.Contains(p.Detail, faults.ErrUnknown.Error()):
		return fmt.Errorf("%s; `vigie fault list` shows them", p.Detail)
	case p.Type == httpapi.UnknownResource:
		return errNoSwitches
	default:
		return errors.New(p.Detail)
	}
}

func faultsFlag() cli.Flag {
	return &cli.BoolFlag{
		Name: flagFaults, Sources: cli.EnvVars("VIGIE_FAULTS"), Category: "Process",
		Usage: "let those break things who show a token of --" + sentinelle.Name + flagTokens + ", though others reach the page; without, faults are for pages on loopback alone",
	}
}

// prepareFaults makes what faults of vigie up need. They are there where the page can be
// reached from this machine alone, or where they are asked for and want a token.
func (p *parts) prepareFaults(context.Context) error {
	wanted := p.c.Bool(flagFaults)
	if wanted || pageInside(p.c) {
		p.gate, p.authoriser = faults.NewGate(), &paiement.Adjustable{}
		p.around.FaultsByToken = wanted && p.c.String(sentinelle.Name+flagTokens) != ""
	}
	return nil
}

// pageInside says whether the page can be reached from this machine alone.
func pageInside(c *cli.Command) bool { return loopback.All(listenAddress(c, sentinelle.Name+flagAddr)) }

// checkFaults refuses to let anybody break things who can reach the page.
func checkFaults(c *cli.Command) error {
	if c.Bool(flagFaults) && c.String(sentinelle.Name+flagTokens) == "" && !pageInside(c) {
		return misusef("--%s lets others than this machine break things: it needs --%s%s, or an address such as 127.0.0.1 for the page", flagFaults, sentinelle.Name, flagTokens)
	}
	return nil
}

// offerFaults makes the switches of what runs here, for those that look on.
func (p *parts) offerFaults(ctx context.Context) error {
	if p.gate == nil {
		return nil
	}
	cluster, err := kafkaConfig(p.c, "vigie-fault", p.brokers...)
	if err != nil {
		return err
	}
	database, err := databaseURL(p.c)
	if err != nil {
		return err
	}
	log, err := partLog(ctx, p.c, "faults")
	if err != nil {
		return err
	}
	var all []faults.Fault
	if p.broker != nil {
		all = append(all, faults.OfBroker(p.gate, p.broker)...)
	}
	all = append(all, faults.OfStrangers(cluster)...)
	all = append(all, p.authoriser.Faults()...)
	if strings.HasPrefix(database, "sqlite:") {
		all = append(all, faults.OfStorage(database, paiement.Name)...)
	}
	if p.c.String(flagHTTPCert) == "" && p.c.String(commande.Name+flagTokens) == "" {
		all = append(all, faults.Flood(p.services[commande.Name].URL()))
	}
	p.around.Faults = faults.New(log, all...)
	p.undo = append(p.undo, p.around.Faults.Close)
	return nil
}
