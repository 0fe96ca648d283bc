//go:build integration && unix

// Package faults_test breaks the running system in every way that docs/faults.md lists,
// under steady load and with the shipped rules, and looks at what tells of it: which
// alert fires and when, when it resolves, what else would have called somebody, and
// what the page said. It writes what it measured into that document.
//
// main_test.go chooses the rows and runs each on a system of its own, several side by
// side. rows_test.go has the rows: faults, and what is none. world_test.go starts the
// systems and their load. watch_test.go watches alerts and the page. document_test.go
// writes the table.
package faults_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/system"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// pace is how long a row takes.
type pace struct {
	// warmUp is how much load there is before anything is broken: most rules compare
	// with the minutes before.
	warmUp time.Duration
	// aftermath is how long what else fires is watched for: while the fault goes on
	// after its alert, and after all is well again.
	aftermath time.Duration
}

// paceOf is the usual one, or one that looks less long.
func paceOf() pace {
	if quick() {
		return pace{30 * time.Second, 20 * time.Second}
	}
	return pace{75 * time.Second, 60 * time.Second}
}

// patience bounds a hang, beside a row's own time.
const patience = 8 * time.Minute

// Every fault fires its alert within its time, the alert resolves after the fault has
// ended, no other page fires, and what is no fault fires none.
func TestFaults(t *testing.T) {
	binary, err := system.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	chosen := choose(t, rows())
	atOnce := make(chan struct{}, number(t, "FAULTS_AT_ONCE", 3))
	var writing sync.Mutex
	for _, r := range chosen {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			found := r.run(t, binary)
			t.Log(found)
			if os.Getenv("FAULTS_WRITE") != "" { // at once: the whole takes long
				writing.Lock()
				defer writing.Unlock()
				write(t, found)
			}
		})
	}
}

// number is a setting that is a number.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(variable), strconv.Itoa(otherwise)))
	if err != nil || n < 0 {
		t.Fatalf("%s=%q: want a number", variable, os.Getenv(variable))
	}
	return n
}

// choose takes the rows that FAULT names, with commas between, or N of them by SEED, or
// all. A quick look at N of them is at one that is no fault, and else at faults, and at
// none that takes long.
func choose(t *testing.T, all []row) []row {
	t.Helper()
	if names := os.Getenv("FAULT"); names != "" {
		var some []row
		for name := range strings.SplitSeq(names, ",") {
			i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
			if i < 0 {
				t.Fatalf("FAULT=%q: no such row", name)
			}
			some = append(some, all[i])
		}
		return some
	}
	n := number(t, "N", 0)
	if n == 0 || n >= len(all) {
		return all
	}
	seed := uint64(number(t, "SEED", 1))
	t.Logf("%d of %d rows by SEED=%d", n, len(all), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if quick() {
		all = slices.DeleteFunc(all, func(r row) bool { return r.within+r.before > shortRow })
		none := slices.IndexFunc(all, func(r row) bool { return r.alert == "" })
		one := all[none]
		all = slices.DeleteFunc(all, func(r row) bool { return r.alert == "" })
		all = append([]row{one}, all...)
	}
	return all[:min(n, len(all))]
}

// shortRow is how long a row may take, beside its load, that is looked at quickly.
const shortRow = 2 * time.Minute

func quick() bool { return os.Getenv("FAULTS_QUICK") != "" }

// result is what was seen of a row.
type result struct {
	row      row
	fired    time.Duration // after the fault began
	resolved time.Duration // after it ended
	pages    []string      // that fired besides, and would have called somebody
	tickets  []string      // that fired besides
	page     string        // what the page said, and when
}

func (r result) String() string {
	return fmt.Sprintf("%s: %s after %.0f s, resolved after %.0f s; pages %v, tickets %v; the page: %s",
		r.row.name, r.row.alert, r.fired.Seconds(), r.resolved.Seconds(), r.pages, r.tickets, r.page)
}

// run does a row on a system of its own.
func (r row) run(t *testing.T, binary string) result {
	t.Helper()
	w, pace := r.world(t, binary), paceOf()
	seen := watch(t, w)
	pause(t, pace.warmUp)
	seen.await(t, patience, "all is well", func(s *state) bool { return len(s.pages) == 0 && s.page == "well" })
	seen.forget()
	began := time.Now()
	end, err := r.begin(t.Context(), w)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	found := result{row: r}
	if r.alert != "" {
		seen.await(t, r.within+patience, r.alert+" fires", func(s *state) bool { return s.firing[r.alert] })
		found.fired = time.Since(began)
		pause(t, pace.aftermath)
	} else {
		pause(t, r.within)
	}
	ended := time.Now()
	if err := end(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("end: %v", err)
	}
	if r.alert != "" {
		seen.await(t, patience, r.alert+" resolves", func(s *state) bool { return !s.firing[r.alert] })
		found.resolved = time.Since(ended)
	}
	pause(t, pace.aftermath)
	found.pages, found.tickets = seen.others(r.alert)
	found.page = seen.said(began)
	r.judge(t, found, seen)
	return found
}

// judge says what is not as it has to be.
func (r row) judge(t *testing.T, found result, seen *watcher) {
	t.Helper()
	if r.alert != "" && found.fired > r.within {
		t.Errorf("%s fired after %s, want within %s", r.alert, found.fired.Round(time.Second), r.within)
	}
	for _, page := range found.pages {
		if name, _, _ := strings.Cut(page, "{"); !slices.Contains(r.follows, name) {
			t.Errorf("%s called somebody too", page)
		}
	}
	if seen.green() {
		t.Error("the page said that all is well while an alert called somebody")
	}
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	if err := lifecycle.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}
