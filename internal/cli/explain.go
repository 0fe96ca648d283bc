package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/explain"
	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/table"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/suivi"
)

const explainTimeout = 5 * time.Second

func explainCommand(registry services.Registry) *cli.Command {
	const where = "Where to ask"
	prometheus := &cli.StringFlag{
		Name: flagPrometheus, Sources: env(flagPrometheus), Category: where, Validator: aURL,
		Usage: "`URL` of Prometheus (default: that of the instance in --" + flagData + ", else " + defaultPrometheus + ")",
	}
	return &cli.Command{
		Name: "explain", Usage: "say what is behind an alert, and what to do", ArgsUsage: "[ALERT]", HideHelpCommand: true,
		Description: "Says what the alert's runbook says, whether it fires and since when, and what the runbook's queries find\n" +
			"now; names the consumer group, partition, orders and traces behind it, and what to type next. Without an\n" +
			"alert it lists them all. What does not answer is named, and the rest is shown. Changes nothing. Exits with 0\n" +
			"whether the alert fires or not, and with 1 where Prometheus cannot say.\n\n" +
			"   vigie explain\n" +
			"   vigie explain ConsumerLagHigh\n" +
			"   vigie explain DeadLetters --json | jq -r '.orders[].id'",
		Flags: append(slices.Concat(kafkaFlags(brokerOfInstance()), askerFlags()), instanceFlag(), prometheus,
			&cli.StringFlag{
				Name: flagSuiviURL, Sources: cli.EnvVars("VIGIE_SUIVI_URL"), Category: where, Validator: aURL,
				Usage: "`URL` of suivi, which knows the orders that wait (default: that of the instance, else http://" + suivi.Definition().Address + ")",
			},
			&duration.Flag{Name: flagTimeout, Value: explainTimeout, Category: where, Usage: "how long each answer may take", Validator: positiveDuration},
			jsonFlag("print one JSON object; of the list one for each alert and line"),
		),
		Action: func(ctx context.Context, c *cli.Command) error { return runExplain(ctx, c, registry) },
	}
}

func runExplain(ctx context.Context, c *cli.Command, registry services.Registry) error {
	book, err := explain.Read(monitoring.Files)
	if err != nil {
		return err
	}
	if !c.Args().Present() {
		return printBook(c.Root().Writer, book, c.Bool(flagJSON))
	}
	alert, known := book.Find(c.Args().First())
	switch {
	case c.Args().Len() > 1:
		return misusef("explain takes one alert, such as %s; `vigie explain` lists them", book[0].Name)
	case !known:
		return misusef("there is no alert %.64q; %s", c.Args().First(), cmp.Or(didYouMean(nearest(c.Args().First(), book.Names())), "`vigie explain` lists them"))
	}
	running, err := instance.Read(c.String(flagData))
	if err != nil {
		running = instance.Instance{} // the defaults are asked
	}
	if running.Certificate != "" && !c.IsSet(flagHTTPCA) {
		_ = c.Set(flagHTTPCA, running.Certificate) // the command has the flag
	}
	ask, err := newAsker(c)
	if err != nil {
		return err
	}
	prometheus, err := promapi.New(promapi.Config{
		URL: nearestPrometheus(c), Timeout: c.Duration(flagTimeout),
	})
	if err != nil {
		return asMisuse(err)
	}
	defer prometheus.Close()
	now := time.Now()
	report := explain.Explain(ctx, explainSource(c, ask, registry, running, prometheus), alert, now)
	if c.Bool(flagJSON) {
		err = writeJSON(c.Root().Writer, report)
	} else {
		_, err = io.WriteString(c.Root().Writer, printableLines(report.Text(now)))
	}
	if err == nil && report.State == explain.Unknown {
		err = fmt.Errorf("it is not known whether %s fires: %s", alert.Name, report.Why)
	}
	return err
}

func printBook(w io.Writer, book explain.Book, asJSON bool) error {
	if asJSON {
		for _, a := range book {
			if err := writeJSON(w, a); err != nil {
				return err
			}
		}
		return nil
	}
	alerts := table.Table{Header: []string{"ALERT", "SEVERITY", "MEANS"}}
	for _, a := range book {
		meaning, _, _ := strings.Cut(strings.ReplaceAll(a.Sections["Meaning"], "\n", " "), ". ")
		alerts.Add(a.Name, a.Severity, shortened(printable(meaning), maxMeaning))
	}
	return printTable(w, alerts)
}

// maxMeaning bounds what the list says of an alert, in runes.
const maxMeaning = 90

// explainSource is whom the report asks.
func explainSource(c *cli.Command, ask asker, registry services.Registry, running instance.Instance, prometheus *promapi.Client) explain.Source {
	source := explain.Source{
		Prometheus: prometheus, Groups: map[string]string{}, Words: plain,
		Letters: func(ctx context.Context, reason string, limit int) ([]explain.Order, error) {
			return lettersBehind(ctx, c, running, reason, limit)
		},
		Waiting: func(ctx context.Context, limit int) ([]explain.Order, error) {
			base := cmp.Or(baseURL(c, flagSuiviURL), running.URL(suivi.Name), "http://"+suivi.Definition().Address)
			return waitingOrders(ctx, ask, base, c.Duration(flagTimeout), limit)
		},
	}
	for _, s := range registry {
		source.Groups[s.Name] = s.Group
	}
	return source
}

// lettersBehind reads which orders wait for dead letters, the newest first.
func lettersBehind(ctx context.Context, c *cli.Command, running instance.Instance, reason string, limit int) (orders []explain.Order, err error) {
	otherwise := running.Kafka
	if len(otherwise) == 0 {
		otherwise = []string{defaultBroker}
	}
	cfg, err := kafkaConfig(c, "vigie-explain", otherwise...)
	if err != nil {
		return nil, err
	}
	cfg.Patience = min(cfg.Patience, c.Duration(flagTimeout))
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	source := deadletters.Source{Log: kafka.Cluster{Config: cfg, Client: client}, Topics: client.Topics}
	listing, err := listLetters(ctx, c, source, deadletters.Filter{Reason: reason, Open: true})
	if err != nil {
		return nil, err
	}
	letters := listing.Letters
	slices.SortStableFunc(letters, func(a, b deadletters.Letter) int { return b.FailedAt.Compare(a.FailedAt) })
	letters = letters[:min(len(letters), limit)]
	var lock sync.Mutex
	tracesOf := map[string]string{}
	err = source.Open(ctx, letters, func(w deadletters.Whole) error {
		lock.Lock()
		defer lock.Unlock()
		for _, h := range w.Trace {
			if found, ok := traces.ParseContext(string(h.Value)); ok && h.Key == "traceparent" {
				tracesOf[w.ID.String()] = found.TraceID
			}
		}
		return nil
	})
	for _, l := range letters {
		orders = append(orders, explain.Order{ID: l.Key, Letter: l.ID.String(), Reason: l.Reason, Trace: tracesOf[l.ID.String()]})
	}
	return orders, err
}

// waitingOrders asks suivi which orders wait for their decision.
func waitingOrders(ctx context.Context, ask asker, base string, timeout time.Duration, limit int) ([]explain.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status, body, err := ask.get(ctx, fmt.Sprintf("%s/orders?status=%s&limit=%d", base, banking.OrderStatusCreated, limit), maxPage)
	if err != nil {
		return nil, fmt.Errorf("suivi at %s does not answer: %w", base, rootCause(err))
	}
	var answer struct {
		Orders []struct{ OrderID string }
	}
	if status != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return nil, fmt.Errorf("suivi at %s answers with status %d and no orders", base, status)
	}
	var orders []explain.Order
	for _, o := range answer.Orders {
		orders = append(orders, explain.Order{ID: o.OrderID})
	}
	return orders, nil
}
