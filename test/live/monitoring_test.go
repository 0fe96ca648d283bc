//go:build integration && unix

package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/series"
	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/internal/testenv/stack"
)

// The shipped configuration on the real servers, with the services under load.
// The parts share one stack, and the last one ends it.
func TestLive(t *testing.T) {
	s := stack.Start(t)
	t.Run("every target is up", func(t *testing.T) { targetsAreUp(t, s) })
	t.Run("every rule works and every recorded series is there", func(t *testing.T) { rulesWork(t, s) })
	t.Run("every series of a rule is there", func(t *testing.T) { seriesAreThere(t, s) })
	t.Run("recorded pages are those of these servers", func(t *testing.T) { pagesAreCurrent(t, s) })
	t.Run("exemplars lead to traces", func(t *testing.T) { exemplarsAreStored(t, s) })
	t.Run("alerts arrive", func(t *testing.T) { alertmanagerIsKnown(t, s) })
	t.Run("every query of every dashboard finds data", func(t *testing.T) { dashboardsHaveData(t, s) })
	t.Run("the doctor finds all well", func(t *testing.T) { doctorIsContent(t, s) })
	t.Run("nothing is alerted", func(t *testing.T) { nothingIsAlerted(t, s) })
	t.Run("services that die are alerted, and nothing else", func(t *testing.T) { deathIsAlerted(t, s) })
	t.Run("the doctor names what is away", func(t *testing.T) { doctorNamesTheFault(t, s) })
}

func targetsAreUp(t *testing.T, s *stack.Stack) {
	want := map[string]int{"services": len(s.Services), "kafka": 1, "node": 1, "prometheus": 1, "alertmanager": 1}
	eventually(t, func(ctx context.Context) error {
		var targets struct {
			ActiveTargets []struct {
				Labels                       map[string]string
				Health, LastError, ScrapeURL string
			}
		}
		if err := s.API(ctx, "/api/v1/targets?state=active", &targets); err != nil {
			return err
		}
		up := map[string]int{}
		for _, target := range targets.ActiveTargets {
			if target.Health != "up" {
				return fmt.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError)
			}
			up[target.Labels["job"]]++
		}
		if !maps.Equal(up, want) {
			return fmt.Errorf("targets up: %v, want %v", up, want)
		}
		return nil
	})
	samples, err := s.Query(t.Context(), `count by (service) (up{job="services"})`)
	if err != nil || len(samples) != want["services"] {
		t.Errorf("services by the label of their target: %v, %v", samples, err)
	}
	if samples, err = s.Query(t.Context(), `{exported_service!=""}`); err != nil || len(samples) != 0 {
		t.Errorf("%d series had their label service renamed, %v", len(samples), err)
	}
}

func exemplarsAreStored(t *testing.T, s *stack.Stack) {
	for _, metric := range []string{"http_request_duration_seconds_bucket", "kafka_message_processing_duration_seconds_bucket"} {
		eventually(t, func(ctx context.Context) error {
			var series []struct {
				Exemplars []struct{ Labels map[string]string }
			}
			path := "/api/v1/query_exemplars?query=" + metric + "&start=0&end=4000000000"
			if err := s.API(ctx, path, &series); err != nil {
				return err
			}
			for _, one := range series {
				for _, exemplar := range one.Exemplars {
					if len(exemplar.Labels["trace_id"]) == 32 {
						return nil
					}
				}
			}
			return fmt.Errorf("%s: %d series with exemplars, none with a trace id", metric, len(series))
		})
	}
}

func rulesWork(t *testing.T, s *stack.Stack) {
	eventually(t, func(ctx context.Context) error {
		var rules struct {
			Groups []struct {
				Rules []struct{ Name, Type, Health, LastError string }
			}
		}
		if err := s.API(ctx, "/api/v1/rules", &rules); err != nil {
			return err
		}
		var errs []error
		for _, group := range rules.Groups {
			for _, rule := range group.Rules {
				if rule.Health != "ok" {
					errs = append(errs, fmt.Errorf("rule %s is %s: %s", rule.Name, rule.Health, rule.LastError))
				}
				if rule.Type == "recording" {
					errs = append(errs, hasData(ctx, s, rule.Name))
				}
			}
		}
		if len(rules.Groups) == 0 {
			errs = append(errs, errors.New("no rules"))
		}
		return errors.Join(errs...)
	})
}

func hasData(ctx context.Context, s *stack.Stack, expression string) error {
	samples, err := s.Query(ctx, expression)
	if err == nil && len(samples) == 0 {
		err = fmt.Errorf("%s has no data", expression)
	}
	return err
}

// rules are all rules that are shipped.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	all, err := series.Rules(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// selected are the metrics that an expression selects.
func selected(t *testing.T, expression string) []string {
	t.Helper()
	names, err := series.Selected(expression)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// An alert on a series that never comes is silent for ever.
func seriesAreThere(t *testing.T, s *stack.Stack) {
	for _, rule := range rules(t) {
		for _, name := range selected(t, rule.Expr) {
			if strings.HasPrefix(name, "db_client_") || strings.HasPrefix(name, "otelcol_") || name == "certificate_expiry_timestamp_seconds" || name == "file_reload_failed" {
				continue // of PostgreSQL, the Collector, certificates and tokens, which are not used here
			}
			eventually(t, func(ctx context.Context) error { return hasData(ctx, s, name) })
		}
	}
}

// pagesAreCurrent checks the recorded pages, which stand for the servers in the
// tests without them, against the servers: see [record].
func pagesAreCurrent(t *testing.T, s *stack.Stack) {
	for name, server := range exporters(s) {
		path := repo.Path(t, "monitoring", "testdata", name+".prom")
		page := fetch(t, server.URL("/metrics"))
		if *update {
			record(t, path, page)
		}
		recorded, err := series.Page(path)
		if err != nil {
			t.Fatal(err)
		}
		live, err := series.PageOf(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules(t) {
			for _, series := range selected(t, rule.Expr) {
				if _, there := live[series]; recorded[series] != nil && !there {
					t.Errorf("%s is in %s and not on the server's page", series, path)
				}
			}
		}
	}
}

var update = flag.Bool("update", false, "record the exporters' pages again in testdata")

// exporters are the servers whose pages are recorded, by the pages' names.
func exporters(s *stack.Stack) map[string]*servers.Server {
	return map[string]*servers.Server{
		"kafka": s.JMXExporter, "node": s.NodeExporter, "prometheus": s.Prometheus, "alertmanager": s.Alertmanager,
	}
}

// record keeps a page without what names this machine.
func record(t *testing.T, path, page string) {
	t.Helper()
	for pattern, replacement := range map[string]string{
		`nodename="[^"]*"`:                  `nodename="host"`,
		`(address)="[0-9a-f:]{17}"`:         `$1="02:00:00:00:00:01"`,
		`"(/[^"]*)?/(tmp|work|root)/[^"]*"`: `"/path"`,
	} {
		page = regexp.MustCompile(pattern).ReplaceAllString(page, replacement)
	}
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

func alertmanagerIsKnown(t *testing.T, s *stack.Stack) {
	eventually(t, func(ctx context.Context) error {
		var found struct{ ActiveAlertmanagers []struct{ URL string } }
		if err := s.API(ctx, "/api/v1/alertmanagers", &found); err != nil {
			return err
		}
		if len(found.ActiveAlertmanagers) != 1 || !strings.Contains(found.ActiveAlertmanagers[0].URL, s.Alertmanager.Address) {
			return fmt.Errorf("alertmanagers: %v", found.ActiveAlertmanagers)
		}
		return nil
	})
}

// ofTheSystem selects the alerts about what the test runs: how full this
// machine's disks are is no matter of it.
const ofTheSystem = `alertname!~"Host.*|Watchdog"`

// Pending counts as well: what waits now would fire later. A scrape may fail
// once on a loaded machine, so not at every moment.
func nothingIsAlerted(t *testing.T, s *stack.Stack) {
	// The longest wait of a rule about the services is two minutes; each rule
	// has been evaluated with data for longer than its shortest.
	eventually(t, func(ctx context.Context) error {
		samples, err := s.Query(ctx, `ALERTS{`+ofTheSystem+`}`)
		if err != nil {
			return err
		}
		var errs []error
		for _, sample := range samples {
			errs = append(errs, fmt.Errorf("alert %v", sample.Metric))
		}
		return errors.Join(errs...)
	})
	samples, err := s.Query(t.Context(), `max_over_time(ALERTS{alertstate="firing",`+ofTheSystem+`}[1h])`)
	if err != nil || len(samples) != 0 {
		t.Errorf("alerts have fired: %v, %v", samples, err)
	}
	if logged := loggedAlerts(t, s); len(logged) != 0 {
		t.Errorf("the sink logged alerts: %v", logged)
	}
}

// The way of an alert from the scrape to the log.
func deathIsAlerted(t *testing.T, s *stack.Stack) {
	s.System.Kill()
	want := slices.Sorted(maps.Keys(s.Services))
	eventually(t, func(context.Context) error {
		services := map[string]bool{}
		for _, record := range loggedAlerts(t, s) {
			if record.Alert != "ServiceDown" || record.Severity != "critical" || !strings.HasSuffix(record.Runbook, "/ServiceDown.md") {
				t.Fatalf("the sink logged %+v", record)
			}
			service, _, _ := strings.Cut(record.Summary, " ")
			services[service] = true
		}
		if got := slices.Sorted(maps.Keys(services)); !slices.Equal(got, want) {
			return fmt.Errorf("the sink logged %v, want %v; it wrote:\n%s", got, want, logOf(t, s.Sink))
		}
		return nil
	})
	samples, err := s.Query(t.Context(), `ALERTS{alertname!="ServiceDown",alertstate="firing",`+ofTheSystem+`}`)
	if err != nil || len(samples) != 0 {
		t.Errorf("other alerts fire: %v, %v", samples, err)
	}
}

// loggedAlert is what the sink logs of an alert.
type loggedAlert struct{ Msg, Alert, Severity, Status, Summary, Runbook string }

// loggedAlerts are the alerts that the sink has logged, see [ofTheSystem].
func loggedAlerts(t *testing.T, s *stack.Stack) []loggedAlert {
	t.Helper()
	var all []loggedAlert
	for line := range strings.Lines(logOf(t, s.Sink)) {
		var record loggedAlert
		if json.Unmarshal([]byte(line), &record) != nil || record.Msg != "alert firing" {
			continue // another line
		}
		if !strings.HasPrefix(record.Alert, "HostDisk") {
			all = append(all, record)
		}
	}
	return all
}
