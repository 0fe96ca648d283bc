//go:build integration && unix

package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

const (
	look = time.Second
	// groupWait is how long Alertmanager waits before it calls somebody.
	groupWait = 5 * time.Second
	// muchLater is how many looks the page may be behind.
	muchLater = 5
	noAnswer  = "no answer"
)

// state is what was seen at one moment.
type state struct {
	firing map[string]bool      // by the alert's name
	pages  map[string]time.Time // that would call somebody, with their labels, and since when
	page   string               // the page's state, or that it does not answer
}

// said is something that the page said, and when.
type said struct {
	at    time.Time
	state string
	why   string
}

// watcher looks at the alerts and the page every second.
type watcher struct {
	world    *world
	inhibits []common.InhibitRule

	mu      sync.Mutex
	now     state
	called  map[string]bool // pages that were sent
	tickets map[string]bool
	words   []said
	greens  int  // looks in a row in which the page said that all is well while a page had been sent for a while
	isGreen bool // there were several
	changed chan struct{}
}

func watch(t *testing.T, w *world) *watcher {
	t.Helper()
	text, err := os.ReadFile(repo.Path(t, "monitoring", "alertmanager.yml"))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := config.Load(string(text))
	if err != nil {
		t.Fatal(err)
	}
	seen := &watcher{world: w, inhibits: shipped.InhibitRules, changed: make(chan struct{})}
	seen.forget()
	client, err := promapi.New(promapi.Config{URL: w.prometheus, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(look)
		defer ticker.Stop()
		for {
			seen.look(ctx, client)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; client.Close() })
	return seen
}

// forget begins a new record of what fires.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called, w.tickets, w.words, w.isGreen = map[string]bool{}, map[string]bool{}, nil, false
}

func (w *watcher) look(ctx context.Context, client *promapi.Client) {
	groups, err := client.Rules(ctx)
	if err != nil {
		return // Prometheus is being restarted
	}
	page, why := w.askPage(ctx)
	var all []model.LabelSet
	firing := map[string]bool{}
	for _, rule := range promapi.Alerting(groups) {
		for _, a := range rule.Alerts {
			if string(a.State) == "firing" {
				all = append(all, a.Labels.Merge(model.LabelSet{"alertname": model.LabelValue(rule.Name)}))
				firing[rule.Name] = true
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := state{firing: firing, pages: map[string]time.Time{}, page: page}
	green := false
	for _, a := range all {
		name := short(a)
		switch {
		case a["severity"] != "critical":
			w.tickets[string(a["alertname"])] = true
		case !w.inhibited(a, all):
			since, known := w.now.pages[name]
			if !known {
				since = time.Now()
			}
			now.pages[name] = since
			if time.Since(since) >= groupWait {
				w.called[name] = true
				green = green || page == "well" && time.Since(since) > 3*groupWait
			}
		}
	}
	w.greens++
	if !green {
		w.greens = 0
	}
	w.isGreen = w.isGreen || w.greens > muchLater
	if n := len(w.words); n == 0 || w.words[n-1].state != page {
		w.words = append(w.words, said{time.Now(), page, why})
	}
	w.now = now
	close(w.changed)
	w.changed = make(chan struct{})
}

// inhibited says whether Alertmanager keeps an alert back for the sake of another.
func (w *watcher) inhibited(a model.LabelSet, all []model.LabelSet) bool {
	for _, rule := range w.inhibits {
		if !labels.Matchers(rule.TargetMatchers).Matches(a) {
			continue
		}
		for _, source := range all {
			equal := labels.Matchers(rule.SourceMatchers).Matches(source) && !source.Equal(a)
			for _, name := range rule.Equal {
				equal = equal && source[model.LabelName(name)] == a[model.LabelName(name)]
			}
			if equal {
				return true
			}
		}
	}
	return false
}

// short names an alert by what tells it from others of its name.
func short(a model.LabelSet) string {
	var labels []string
	for _, name := range []model.LabelName{"service", "topic"} {
		if a[name] != "" {
			labels = append(labels, string(a[name]))
		}
	}
	if len(labels) == 0 {
		return string(a["alertname"])
	}
	return fmt.Sprintf("%s{%s}", a["alertname"], strings.Join(labels, ","))
}

// askPage is the state that the page tells, and why.
func (w *watcher) askPage(ctx context.Context) (page, why string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var answer struct {
		Verdict struct {
			State   string
			Reasons []string
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.world.page+"/state", nil)
	if err != nil {
		return noAnswer, ""
	}
	response, err := w.world.client.Do(request)
	if err != nil {
		return noAnswer, ""
	}
	defer func() { _ = response.Body.Close() }()
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return noAnswer, ""
	}
	return answer.Verdict.State, strings.Join(answer.Verdict.Reasons[:min(1, len(answer.Verdict.Reasons))], "")
}

// await waits until what is seen is so.
func (w *watcher) await(t *testing.T, most time.Duration, what string, so func(*state) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	for {
		w.mu.Lock()
		now, changed := w.now, w.changed
		w.mu.Unlock()
		if now.firing != nil && so(&now) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waited %s until %s: firing %v, the page says %q", most, what, slices.Sorted(maps.Keys(now.firing)), now.page)
		}
	}
}

// others are the alerts that fired beside one.
func (w *watcher) others(alert string) (pages, tickets []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for page := range w.called {
		if name, _, _ := strings.Cut(page, "{"); name != alert {
			pages = append(pages, page)
		}
	}
	for ticket := range w.tickets {
		if ticket != alert {
			tickets = append(tickets, ticket)
		}
	}
	slices.Sort(pages)
	slices.Sort(tickets)
	return pages, tickets
}

// said is what the page said first that was not "well", and when.
func (w *watcher) said(began time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, word := range w.words {
		if word.state != "well" && len(all) < 2 {
			all = append(all, fmt.Sprintf("%s after %.0f s", word.state, word.at.Sub(began).Seconds()))
		}
	}
	if len(all) == 0 {
		return "well"
	}
	return strings.Join(all, ", ")
}

func (w *watcher) green() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isGreen
}
