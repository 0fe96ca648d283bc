package sentinelle

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/chart"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
)

// objectiveInterval is how often the objectives are asked for: their rules are looked at
// every fifteen seconds.
const objectiveInterval = 10 * time.Second

// Objective is what is promised about orders, and how much of its budget is left
// (docs/slo.md). What is not known is nil.
type Objective struct {
	Name       string   `json:"name"`
	State      string   `json:"state"`      // kept, burning, used-up or unknown
	Objective  float64  `json:"objective"`  // the share of events that is to be good
	WindowDays float64  `json:"windowDays"` // over which it is counted
	Good       *float64 `json:"good"`       // the share that was good, over the window
	BudgetLeft *float64 `json:"budgetLeft"` // 1 is all of it, 0 none; below 0 more was used than there was
	Burns      []Burn   `json:"burnRates"`  // from the shortest window to the longest
}

// Burn is how fast the budget is used up: at 1 it lasts for exactly its window.
type Burn struct {
	Window string   `json:"window"`
	Rate   *float64 `json:"rate"`
}

// States of an objective.
const (
	objectiveKept    = "kept"
	objectiveBurning = "burning" // faster than the budget lasts, over the last hour
	objectiveUsedUp  = "used-up"
	objectiveUnknown = "unknown"
)

const (
	// objectiveProbe is there only where something is probed.
	objectiveProbe = "probe"
	// objectivesQuery asks for what the rules of monitoring/rules/slo.yml record, for the
	// alerts by which they are known not to see anything, and for whether something is
	// probed.
	objectivesQuery = `{__name__=~"slo:(objective:ratio|error_budget:ratio|time_period:days|period_error_budget_remaining:ratio|sli_error:ratio_rate.+)"}` +
		` or ALERTS{alertname="ObjectiveUnknown"} or label_replace(ALERTS{alertname="ProbeSilent"}, "sloth_slo", "` + objectiveProbe + `", "", "")` +
		` or probe_interval_seconds > 0`
	// burnWindow is the one whose burn rate says whether the budget burns.
	burnWindow = "1h"
)

// askObjectives asks for all objectives.
func askObjectives(ctx context.Context, from prometheus, now time.Time) ([]Objective, error) {
	vector, err := from.Vector(ctx, objectivesQuery, now)
	if err != nil {
		return nil, err
	}
	found, probed := map[string]*recorded{}, false
	for _, sample := range vector {
		name := string(sample.Metric["sloth_slo"])
		if name == "" {
			probed = true
			continue
		}
		if found[name] == nil {
			found[name] = &recorded{ratios: map[string]float64{}}
		}
		found[name].add(sample)
	}
	var all []Objective
	for name, r := range found {
		if r.objective > 0 && (name != objectiveProbe || probed || r.left != nil) {
			all = append(all, r.tell(name))
		}
	}
	slices.SortFunc(all, func(a, b Objective) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// recorded is what the rules have recorded of an objective.
type recorded struct {
	objective, budget, days float64
	left                    *float64
	ratios                  map[string]float64 // of bad events, by the window
	unseen                  bool               // its counters are gone
}

func (r *recorded) add(sample *model.Sample) {
	value := float64(sample.Value)
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return // there were no events
	}
	switch name := string(sample.Metric[model.MetricNameLabel]); name {
	case "slo:objective:ratio":
		r.objective = value
	case "slo:error_budget:ratio":
		r.budget = value
	case "slo:time_period:days":
		r.days = value
	case "slo:period_error_budget_remaining:ratio":
		r.left = &value
	case "ALERTS":
		r.unseen = true
	default:
		if window, ok := strings.CutPrefix(name, "slo:sli_error:ratio_rate"); ok {
			r.ratios[window] = value
		}
	}
}

// tell makes an objective of what was recorded.
func (r *recorded) tell(name string) Objective {
	o := Objective{Name: name, State: objectiveUnknown, Objective: r.objective, WindowDays: r.days, BudgetLeft: r.left}
	whole := model.Duration(time.Duration(r.days * float64(24*time.Hour))).String()
	if bad, ok := r.ratios[whole]; ok {
		good := 1 - bad
		o.Good = &good
	}
	for _, window := range []string{"5m", "30m", burnWindow, "6h", "1d", "3d"} {
		burn := Burn{Window: window}
		if bad, ok := r.ratios[window]; ok && r.budget > 0 {
			rate := bad / r.budget
			burn.Rate = &rate
		}
		o.Burns = append(o.Burns, burn)
	}
	switch burning := o.burn(burnWindow); {
	case r.unseen || o.Good == nil || o.BudgetLeft == nil:
	case *o.BudgetLeft <= 0:
		o.State = objectiveUsedUp
	case burning != nil && *burning > 1:
		o.State = objectiveBurning
	default:
		o.State = objectiveKept
	}
	return o
}

func (o Objective) burn(window string) *float64 {
	for _, b := range o.Burns {
		if b.Window == window {
			return b.Rate
		}
	}
	return nil
}

// Promised is the share that has to be good, and over how long, in words.
func (o Objective) Promised() i18n.Text {
	return i18n.Textf("%s over %g days", percent(&o.Objective), o.WindowDays)
}

// Kept is the share that was good, in words.
func (o Objective) Kept() i18n.Text { return percent(o.Good) }

// Left is what is left of the budget, in words.
func (o Objective) Left() i18n.Text { return percent(o.BudgetLeft) }

// Burning is how many times faster than allowed the budget is used up, in words.
func (o Objective) Burning() i18n.Text {
	if rate := o.burn(burnWindow); rate != nil {
		return i18n.Textf("%s ×", i18n.Number(chart.Figure(*rate)))
	}
	return i18n.Verbatim(nothing)
}

// percent writes a share so that three nines and two can be told apart.
func percent(share *float64) i18n.Text {
	if share == nil {
		return i18n.Verbatim(nothing)
	}
	rounded := math.Trunc(*share*1e5) / 1e3 // never up: 99.9996% is not all
	return i18n.Textf("%s%%", i18n.Number(strconv.FormatFloat(rounded, 'g', -1, 64)))
}

// ObjectivesWhy says why nothing is known of the objectives, nothing where something is.
func (s *Snapshot) ObjectivesWhy() i18n.Text {
	if why := s.Why(partObjectives); !why.IsZero() {
		return why
	}
	if len(s.Objectives) == 0 {
		return i18n.Textf("Prometheus has recorded nothing of them yet.")
	}
	return i18n.Text{}
}

// slo answers with the objectives.
func (p *page) slo(w http.ResponseWriter, r *http.Request) {
	s := p.lookout.Now(r.Context())
	why := s.ObjectivesWhy()
	httpapi.WriteJSON(w, http.StatusOK, map[string]any{"known": why.IsZero(), "why": why, "objectives": orEmpty(s.Objectives)})
}

func (l *lookout) askObjectives(ctx context.Context) (finding, error) {
	if l.from == nil {
		return nil, errNoPrometheus
	}
	all, err := askObjectives(ctx, l.from, l.now())
	return func(s *Snapshot) { s.Objectives = all }, err
}
