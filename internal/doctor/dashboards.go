package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

const partDashboards = "dashboards"

// dashboard is as much of Grafana's format as queries need.
type dashboard struct {
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type panel struct {
	Title   string  `json:"title"`
	Panels  []panel `json:"panels"` // of a collapsed row
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			// NoValue is what the panel says where there is no data: it is then
			// no fault, as in a list of firing alerts.
			NoValue string `json:"noValue"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// flat returns the panels, those of collapsed rows included.
func flat(panels []panel) (all []panel) {
	for _, p := range panels {
		all = append(append(all, p), flat(p.Panels)...)
	}
	return all
}

// checkDashboards tries every panel's queries. A panel none of whose queries finds
// data is wrong: counters start at zero, so that even a quiet system has some.
// Panels that lack data are one finding, or follow from what is wrong with the
// parts whose figures they show.
func (d *doctor) checkDashboards(ctx context.Context, e *exam, prom promv1.API) {
	if d.cfg.Dashboards == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(d.cfg.Dashboards, "*.json"))
	if err != nil || len(files) == 0 {
		e.wrong(partDashboards, "are not in "+d.cfg.Dashboards, "Say where they are with --dashboards, or --dashboards '' to leave them out.")
		return
	}
	for _, file := range files {
		board, err := readDashboard(file)
		if err != nil {
			e.wrong(partDashboards, d.reason(err), "Compare it with the version in git.")
			continue
		}
		d.checkDashboard(ctx, e, prom, board)
	}
}

func readDashboard(file string) (board dashboard, err error) {
	content, err := os.ReadFile(file) //nolint:gosec // the folder is the caller's choice
	if err != nil {
		return board, err
	}
	if err := json.Unmarshal(content, &board); err != nil {
		return board, fmt.Errorf("%s is no dashboard: %w", file, err)
	}
	return board, nil
}

func (d *doctor) checkDashboard(ctx context.Context, e *exam, prom promv1.API, board dashboard) {
	var empty []string
	queries := 0
	for _, p := range flat(board.Panels) {
		queries += len(p.Targets)
		if why := d.lacking(ctx, prom, p, board.expand); why != "" {
			empty = append(empty, why)
		}
	}
	if len(empty) == 0 {
		e.ok(partDashboards, fmt.Sprintf("%q: all panels find data with %d queries", board.Title, queries))
		return
	}
	e.wrong(partDashboards, fmt.Sprintf("%q: no data in %s", board.Title, strings.Join(empty, ", ")),
		"Wait a minute after a start, and send an order; then see which part is missing.").from(d.sources()...).like("no data")
}

// lacking names the panel if none of its queries finds data, or one fails.
func (d *doctor) lacking(ctx context.Context, prom promv1.API, p panel, expand func(string) string) string {
	queries, found := 0, 0
	for _, t := range p.Targets {
		if t.Expr == "" { // a query of another data source
			continue
		}
		n, err := count(ctx, prom, expand(t.Expr))
		if err != nil {
			return fmt.Sprintf("%s (%s)", p.Title, d.reason(err))
		}
		queries, found = queries+1, found+n
	}
	if queries > 0 && found == 0 && p.FieldConfig.Defaults.NoValue == "" {
		return p.Title
	}
	return ""
}

// count returns how many series or samples an expression finds.
func count(ctx context.Context, prom promv1.API, expr string) (int, error) {
	value, _, _, err := prom.Query(ctx, expr, time.Time{})
	if err != nil {
		return 0, err
	}
	switch v := value.(type) {
	case model.Vector:
		return len(v), nil
	case model.Matrix:
		return len(v), nil
	default:
		return 1, nil
	}
}

// variable is a variable of a dashboard.
type variable struct {
	Name       string `json:"name"`
	AllValue   string `json:"allValue"`
	IncludeAll bool   `json:"includeAll"`
	Current    struct {
		Value json.RawMessage `json:"value"`
	} `json:"current"`
}

// all is what stands for everything that can be chosen, or for what is chosen
// at first where only one can be.
func (v variable) all() string {
	switch {
	case v.AllValue != "":
		return v.AllValue
	case v.IncludeAll:
		return ".*"
	}
	var one string
	_ = json.Unmarshal(v.Current.Value, &one) // several are chosen, or none
	return one
}

// expand puts values in place of Grafana's variables.
func (d dashboard) expand(expr string) string {
	values := map[string]string{"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.all()
	}
	name := regexp.MustCompile(`\$(?:\{(\w+)(?::\w+)?\}|(\w+))`)
	return name.ReplaceAllStringFunc(expr, func(found string) string {
		groups := name.FindStringSubmatch(found)
		if value, ok := values[groups[1]+groups[2]]; ok {
			return value
		}
		return found
	})
}
