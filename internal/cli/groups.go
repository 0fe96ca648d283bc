package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/table"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

const (
	flagLookFor = "look-for"

	groupsTimeout = 5 * time.Second
	// lookEvery is how far apart the looks are of a command that looks itself, and
	// lookFor how long it does by default: two looks and a bit.
	lookEvery, lookFor = time.Second, 2 * time.Second
)

// errNoGroup: nobody has seen a group of that name.
var errNoGroup = errors.New("no such group")

func groupsCommand() *cli.Command {
	const where = "Where to ask"
	return &cli.Command{
		Name: "groups", Usage: "show every consumer group with its verdict and the evidence", ArgsUsage: "[GROUP]", HideHelpCommand: true,
		Description: "Asks the running sentinelle how the consumer groups of its cluster fare: the worst first, or every\n" +
			"partition that one group reads. With --" + flagBrokers + " it asks that cluster itself, which needs only Describe\n" +
			"rights; verdicts on what moves then need a minute or two of --" + flagLookFor + ". What is not known is –, and null\n" +
			"in JSON, never 0. Changes nothing. Exits with 0 whatever the verdicts are.\n\n" +
			"   vigie groups\n" +
			"   vigie groups paiement-svc\n" +
			"   vigie groups --kafka-brokers broker-1:9092 --look-for 2m\n" +
			"   vigie groups --json | jq -e 'all(.groups[]; .state != \"stalled\")'",
		Flags: append(append(kafkaFlags("none: a sentinelle is asked"), askerFlags()...), instanceFlag(),
			&cli.StringFlag{
				Name: flagPage, Sources: cli.EnvVars(variablePageURL), Category: where, Validator: aURL,
				Usage: "`URL` of a running sentinelle (default: of the instance which runs in --" + flagData + ", else " + defaultSentinelle() + ")",
			},
			&duration.Flag{Name: flagLookFor, Value: lookFor, Category: where, Usage: "how long to look at a cluster that is named", Validator: positiveDuration},
			&duration.Flag{Name: flagTimeout, Value: groupsTimeout, Category: where, Usage: "how long each answer may take", Validator: positiveDuration},
			jsonFlag("print what sentinelle answers to programs, as one JSON object"),
		),
		Action: runGroups,
	}
}

func defaultSentinelle() string {
	return "http://" + sentinelle.Definition(sentinelle.Config{}).Address
}

func runGroups(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() > 1 {
		return misusef("groups takes one group, or none for all")
	}
	name := c.Args().First()
	var list sentinelle.GroupList
	var one sentinelle.GroupDetail
	var err error
	switch {
	case len(brokers(c)) > 0 && !c.IsSet(flagPage):
		list, one, err = watchGroups(ctx, c, name)
	case name == "":
		err = askSentinelle(ctx, c, http.MethodGet, "/groups", nil, &list, notThere)
	default:
		err = askSentinelle(ctx, c, http.MethodGet, "/groups/"+url.PathEscape(name), nil, &one, notThere)
	}
	if err != nil {
		return err
	}
	out := c.Root().Writer
	switch asJSON := c.Bool(flagJSON); {
	case asJSON && name == "":
		return writeJSON(out, list)
	case asJSON:
		return writeJSON(out, one)
	case name == "":
		return printGroups(out, list)
	default:
		return printGroup(out, one)
	}
}

// watchGroups asks the cluster itself.
func watchGroups(ctx context.Context, c *cli.Command, name string) (list sentinelle.GroupList, one sentinelle.GroupDetail, err error) {
	cfg, err := kafkaConfig(c, "vigie-groups")
	if err != nil {
		return list, one, err
	}
	collector, err := groups.New(groups.Config{Kafka: cfg, Interval: lookEvery, Timeout: c.Duration(flagTimeout)})
	if err != nil {
		return list, one, err
	}
	defer collector.Close()
	round, err := lookFew(ctx, collector, c.Duration(flagLookFor))
	if err != nil {
		return list, one, err
	}
	if len(round.Brokers) == 0 {
		return list, one, fmt.Errorf("look at the groups: %w", unseenError(round))
	}
	if name == "" {
		return sentinelle.ListGroups(round), one, nil
	}
	one, known := sentinelle.DetailGroup(round, name)
	if !known {
		err = fmt.Errorf("%.128q: %w", name, errNoGroup)
	}
	return list, one, err
}

// lookFew looks again and again for some time, twice at least.
func lookFew(ctx context.Context, collector *groups.Collector, howLong time.Duration) (*groups.Round, error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	started := time.Now()
	for looks := 1; ; looks++ {
		round := collector.Look(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(round.Brokers) == 0 || looks > 1 && time.Since(started) >= howLong {
			return round, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

// unseenError is why a round saw nothing.
func unseenError(r *groups.Round) error {
	for _, f := range r.Failures {
		return fmt.Errorf("%s: %s", f.Request, f.Text)
	}
	return errors.New("no broker answers")
}

// notThere says what sentinelle's refusal means to who asked for a group.
func notThere(p httpapi.Problem) error {
	if p.Type == httpapi.UnknownResource {
		return fmt.Errorf("%w: %s", errNoGroup, p.Detail)
	}
	return fmt.Errorf("sentinelle says: %s", p.Detail)
}

// printGroups writes the groups as a table, a line each.
func printGroups(w io.Writer, list sentinelle.GroupList) error {
	all := table.Table{Header: []string{"GROUP", "VERDICT", "WAITS", "OLDEST", "CAUGHT UP IN", "EVIDENCE"}}
	for _, g := range list.Groups {
		state := string(g.State)
		if !g.Judged {
			state = unknownText
		}
		all.Add(printable(g.Group), state, sentinelle.NumberText(g.Lag), sentinelle.SpanText(g.LagAge).String(),
			sentinelle.CatchUpText(g.CatchUp).String(), printable(g.Evidence.String()))
	}
	if _, err := io.WriteString(w, all.Plain()); err != nil { // the evidence is not to be cut
		return err
	}
	if len(list.Groups) == 0 {
		fmt.Fprintln(w, "There is no group, or none that is watched.")
	}
	fmt.Fprintf(w, "\n%d of %d brokers answered, at %s.\n", list.Brokers.Answering, list.Brokers.Known, list.At.UTC().Format(time.RFC3339))
	for _, missing := range list.Unseen {
		fmt.Fprintln(w, "Not seen: "+printable(missing.String()))
	}
	return nil
}

// printGroup writes what one group reads, a line for each partition.
func printGroup(w io.Writer, g sentinelle.GroupDetail) error {
	fmt.Fprintf(w, "%s: %s: %s\n", printable(g.Group.Group), g.Group.State, printable(g.Group.Evidence.String()))
	fmt.Fprintf(w, "%s group, %s, %s members, as seen at %s\n\n", printable(cmp.Or(g.Group.Type, unknownText)), printable(cmp.Or(g.Group.KafkaState, unknownText)),
		sentinelle.NumberText(g.Group.Members), g.At.UTC().Format(time.RFC3339))
	all := table.Table{Header: []string{"PARTITION", "VERDICT", "WAITS", "OLDEST", "CAUGHT UP IN", "LOST IN", "COMMITTED", "OWNER", "EVIDENCE"}}
	for _, r := range g.Reads {
		all.Add(fmt.Sprintf("%s/%d", printable(r.Topic), r.Partition), string(r.State), sentinelle.NumberText(r.Lag),
			sentinelle.SpanText(r.LagAge).String(), sentinelle.CatchUpText(r.CatchUp).String(), sentinelle.SpanText(r.ToLoss).String(), sentinelle.NumberText(r.Committed),
			printable(cmp.Or(r.Owner, unknownText)), printable(r.Evidence.String()))
	}
	_, err := io.WriteString(w, all.Plain())
	return err
}

// unknownText stands for what is not known.
const unknownText = "–"
