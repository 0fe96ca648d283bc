//go:build integration

package monitoring_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/ruletest"
)

const mayLive = "rules/tests/mutants/may-live.yml"

// One thing wrong in an alert makes a test of it fail, or it is written down why that
// thing makes no difference.
func TestMutantsAreKilled(t *testing.T) {
	allowed := mutantsThatMayLive(t)
	m := &mutants{lived: map[string]bool{}}
	t.Run("alert", func(t *testing.T) {
		for name, rule := range alerts(t) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m.alert(t, rule)
			})
		}
	})
	whole := m.alerts == len(alerts(t)) // -run may leave some out
	listed := map[string]bool{}
	for _, r := range allowed {
		r.among(t, m.lived, listed, whole)
	}
	for _, name := range slices.Sorted(maps.Keys(m.lived)) {
		if !listed[name] {
			t.Errorf("lives: %s", name)
		}
	}
	t.Logf("%d mutants: %d killed, %d may live", m.tried, m.tried-len(m.lived), len(listed))
}

// reason is why some mutants may live: those named by alert and change, or all whose
// whole name the pattern matches.
type reason struct {
	Why, Pattern string
	Mutants      map[string][]string
}

func mutantsThatMayLive(t *testing.T) (all []reason) {
	t.Helper()
	text, err := os.ReadFile(mayLive)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatalf("%s: %v", mayLive, err)
	}
	return all
}

// among marks those of the mutants that lived for the reason.
func (r reason) among(t *testing.T, lived, marked map[string]bool, whole bool) {
	t.Helper()
	if len(r.Why) < 20 {
		t.Errorf("%s: %q is no reason", mayLive, r.Why)
	}
	pattern := regexp.MustCompile("^(?:" + r.Pattern + ")$")
	found := 0
	for name := range lived {
		alert, change, _ := strings.Cut(name, ": ")
		if pattern.MatchString(name) || slices.Contains(r.Mutants[alert], change) {
			marked[name] = true
			found++
		}
	}
	if r.Pattern != "" && found == 0 && whole {
		t.Errorf("%s: killed by now, or gone: %s", mayLive, r.Pattern)
	}
	for alert, changes := range r.Mutants {
		for _, change := range changes {
			if name := alert + ": " + change; !lived[name] && whole {
				t.Errorf("%s: killed by now, or gone: %s", mayLive, name)
			}
		}
	}
}

// mutants are those that were tried, and lived.
type mutants struct {
	mu     sync.Mutex
	alerts int
	tried  int
	lived  map[string]bool
}

// alert tries every mutant of an alert on its tests.
func (m *mutants) alert(t *testing.T, rule rulefmt.Rule) {
	trials := trialsOf(t, rule)
	all, err := ruletest.Mutants(rule)
	if err != nil {
		t.Fatal(err)
	}
	var lived []string
	for _, mutant := range all {
		i := slices.IndexFunc(trials, func(trial *ruletest.Trial) bool { return len(trial.Try(mutant.Rule)) > 0 })
		if i < 0 {
			lived = append(lived, fmt.Sprintf("%s: %s", rule.Alert, mutant.Change))
			continue
		}
		trials[0], trials[i] = trials[i], trials[0] // what kills one kills the next
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alerts++
	m.tried += len(all)
	for _, name := range lived {
		m.lived[name] = true
	}
	t.Logf("%d mutants, %d live", len(all), len(lived))
}

// trialsOf are the tests of an alert, which the alert itself passes.
func trialsOf(t *testing.T, rule rulefmt.Rule) (trials []*ruletest.Trial) {
	t.Helper()
	for _, name := range files(t, "rules/tests/*.yml") {
		f, err := ruletest.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range f.Tests {
			trial, err := f.Prepare(test, rule.Alert)
			if err != nil {
				t.Fatal(err)
			}
			if trial == nil {
				continue
			}
			t.Cleanup(func() {
				if err := trial.Close(); err != nil {
					t.Error(err)
				}
			})
			for _, err := range trial.Try(rule) {
				t.Errorf("unchanged: %v", err)
			}
			trials = append(trials, trial)
		}
	}
	return trials
}
