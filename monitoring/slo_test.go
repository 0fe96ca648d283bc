package monitoring_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/load"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

// objectives are those of a file of Sloth's format, as far as they are read here.
type objectives struct {
	Service string
	SLOs    []struct {
		Name      string
		Objective float64
		SLI       struct {
			Events struct {
				Error string `yaml:"error_query"`
				Total string `yaml:"total_query"`
			}
		}
	} `yaml:"slos"`
}

// windows are the windows that alerts look at, as far as they are read here.
type windows struct {
	Spec struct {
		Period       model.Duration `yaml:"sloPeriod"`
		Page, Ticket struct {
			Quick, Slow window
		}
	}
}

type window struct {
	Percent float64        `yaml:"errorBudgetPercent"`
	Short   model.Duration `yaml:"shortWindow"`
	Long    model.Duration `yaml:"longWindow"`
}

// promised reads the objectives and their windows.
func promised(t *testing.T) (all objectives, w windows) {
	t.Helper()
	for name, into := range map[string]any{"slo/orders.yml": &all, "slo/windows/14d.yml": &w} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if len(all.SLOs) == 0 || w.Spec.Period == 0 {
		t.Fatal("no objective was read, or no window")
	}
	return all, w
}

// vigie load holds the bank to what is promised.
func TestLoadsAreHeldToTheObjectives(t *testing.T) {
	all, _ := promised(t)
	o := load.DefaultObjectives()
	held := map[string]float64{"availability": o.Available, "latency": o.Fast, "freshness": o.InTime}
	for _, slo := range all.SLOs {
		if share, known := held[slo.Name]; known && math.Abs(100*share-slo.Objective) > 1e-9 {
			t.Errorf("%s is promised for %v %%, and loads are held to %v", slo.Name, slo.Objective, share)
		}
		delete(held, slo.Name)
	}
	if len(held) > 0 {
		t.Errorf("loads are held to what nobody promises: %v", held)
	}
	if o.Visible != journeys.DefaultObjective {
		t.Errorf("loads want orders to be visible within %v, journeys within %v", o.Visible, journeys.DefaultObjective)
	}
}

// The rules are those that make slo has made of the objectives as they are now; make
// slo ARGS=--check makes them again, with Sloth.
func TestRulesAreThoseOfTheObjectives(t *testing.T) {
	text := repo.Read(t, "monitoring/rules/slo.yml")
	head := regexp.MustCompile(`(?m)\A# .*\n# inputs ([0-9a-f]{64})\n# rules ([0-9a-f]{64})\n`).FindStringSubmatch(text)
	if head == nil {
		t.Fatal("rules/slo.yml does not say what it was made of")
	}
	inputs := sha256.New()
	for _, pattern := range []string{"slo/*.yml", "slo/windows/*.yml", "../tools/slo/*.go", "../tools/slo/go.mod"} {
		for _, name := range files(t, pattern) {
			input, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			inputs.Write(input)
		}
	}
	if got := hex.EncodeToString(inputs.Sum(nil)); got != head[1] {
		t.Error("monitoring/slo or tools/slo has changed since rules/slo.yml was made: run make slo")
	}
	if sum := sha256.Sum256([]byte(text[len(head[0]):])); hex.EncodeToString(sum[:]) != head[2] {
		t.Error("rules/slo.yml was changed by hand: change monitoring/slo, and run make slo")
	}
}

// A burn rate can be reached, and the windows fit what Prometheus keeps.
func TestWindowsCanBeJudged(t *testing.T) {
	all, w := promised(t)
	kept := regexp.MustCompile(`retention\.time=\$\{PROMETHEUS_RETENTION:-(\w+)\}`).FindStringSubmatch(repo.Read(t, "docker-compose.yml"))
	embedded := regexp.MustCompile(`retention  = (\d+) \* 24 \* time\.Hour`).FindStringSubmatch(repo.Read(t, "internal/embedded/prometheus/store.go"))
	if kept == nil || embedded == nil || kept[1] != embedded[1]+"d" {
		t.Fatalf("how long Prometheus keeps is not found, or differs: %v, %v", kept, embedded)
	}
	retention, err := model.ParseDuration(kept[1])
	if err != nil {
		t.Fatal(err)
	}
	if w.Spec.Period > retention {
		t.Errorf("objectives are for %s, and Prometheus keeps %s", w.Spec.Period, retention)
	}
	for name, one := range map[string]window{
		"page quick": w.Spec.Page.Quick, "page slow": w.Spec.Page.Slow, "ticket quick": w.Spec.Ticket.Quick, "ticket slow": w.Spec.Ticket.Slow,
	} {
		if one.Short >= one.Long || one.Long >= w.Spec.Period {
			t.Errorf("%s: windows of %s and %s in %s", name, one.Short, one.Long, w.Spec.Period)
		}
		burn := one.Percent / 100 * time.Duration(w.Spec.Period).Hours() / time.Duration(one.Long).Hours()
		if burn < 0.999 {
			t.Errorf("%s: a burn rate of %.2f, at which the budget lasts", name, burn)
		}
		for _, o := range all.SLOs {
			if ratio := burn * (1 - o.Objective/100); ratio >= 1 {
				t.Errorf("%s of %s wants %.0f%% bad events: it never fires", name, o.Name, 100*ratio)
			}
		}
	}
}

// Each objective counts events over the window that it is asked for, and none of them
// rests on a bound that no bucket has, or on a series that may be missing.
func TestObjectivesCount(t *testing.T) {
	all, _ := promised(t)
	every := alerts(t)
	unknown := every["ObjectiveUnknown"].Expr
	if silent := every["ProbeSilent"].Expr; silent != "max(probe_interval_seconds) > 0 unless on () probe_success" {
		t.Errorf("%s: it does not tell that nothing is known of probes where some are wanted", silent)
	}
	metrics := repo.Read(t, "docs/metrics.md")
	for _, o := range all.SLOs {
		sources := map[string]bool{}
		for what, query := range map[string]string{"error": o.SLI.Events.Error, "total": o.SLI.Events.Total} {
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(query, "{{.window}}", "1h"))
			if err != nil {
				t.Errorf("%s, %s: %v", o.Name, what, err)
				continue
			}
			for _, source := range counted(t, o.Name+", "+what, expr, metrics) {
				sources[source] = true
			}
			if without := absentable(expr); len(without) > 0 {
				t.Errorf("%s, %s: unknown where there is no %v", o.Name, what, without)
			}
		}
		for source := range sources {
			if strings.HasPrefix(source, "probe_") {
				continue // where nothing is probed there is no promise: ProbeSilent tells
			}
			name := regexp.MustCompile(`http_request_duration_seconds_(count|bucket)`).ReplaceAllString(source, "http_requests_total")
			if !regexp.MustCompile(`absent\(` + name + `\{service="\w+"\}\), "sloth_slo", "` + o.Name + `"`).MatchString(unknown) {
				t.Errorf("%s: ObjectiveUnknown does not fire without %s", o.Name, name)
			}
		}
	}
}

// counted are the metrics that an expression counts, each by its rate over the window.
func counted(t *testing.T, where string, expr parser.Expr, metrics string) []string {
	t.Helper()
	names := map[string]bool{}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		names[selector.Name] = true
		rated := false
		for _, above := range path {
			call, ok := above.(*parser.Call)
			rated = rated || ok && call.Func.Name == "rate"
		}
		if !rated {
			t.Errorf("%s: %s is not counted by its rate", where, selector)
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != labels.BucketLabel {
				continue
			}
			row := regexp.MustCompile(`(?m)^\| ` + "`" + strings.TrimSuffix(selector.Name, "_bucket") + "`" + ` \|[^|]*\|[^|]*\|([^|]*)\|`).FindStringSubmatch(metrics)
			if row == nil || m.Type != labels.MatchEqual || !slices.Contains(strings.Fields(row[1]), m.Value) {
				t.Errorf("%s: no bucket ends at %s", where, m.Value)
			}
		}
		return nil
	})
	return slices.Sorted(maps.Keys(names))
}

// absentable are the series by which an expression would be unknown that are not there
// from the start: a status that nobody has had yet.
func absentable(expr parser.Expr) (found []string) {
	if alternative, ok := expr.(*parser.BinaryExpr); ok && alternative.Op == parser.LOR {
		return absentable(alternative.RHS)
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok && strings.Contains(selector.String(), `status_code=~"5..`) {
			found = append(found, selector.String())
		}
		return nil
	})
	return found
}

// Each objective is written down for people, with its number, window and alerts.
func TestObjectivesAreDocumented(t *testing.T) {
	all, w := promised(t)
	every := alerts(t)
	text := repo.Read(t, "docs/slo.md")
	for _, o := range all.SLOs {
		row := regexp.MustCompile(`(?m)^\| ` + o.Name + ` \|.*$`).FindString(text)
		want := strconv.FormatFloat(o.Objective, 'f', -1, 64) + "%"
		name := "Orders" + strings.ToUpper(o.Name[:1]) + o.Name[1:] + "Burn"
		for _, alert := range []string{name, name + "Slow"} {
			_, there := every[alert]
			if !strings.Contains(row, want) || strings.Contains(row, "`"+alert+"`") != there {
				t.Errorf("docs/slo.md says of %s %q, want %s, and %s: %v", o.Name, row, want, alert, there)
			}
		}
	}
	if want := w.Spec.Period.String(); want != "2w" || !strings.Contains(text, "two weeks") {
		t.Errorf("docs/slo.md does not say that the window is %s", want)
	}
}
