package top

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/vigie-dev/vigie/internal/testenv/golden"
)

// busy is a system with traffic and some trouble.
func busy() prometheus {
	return prometheus{
		answers: map[string][]series{
			"up":        of("service", "commande", "1", "suivi", "1", "analyseur", "0", "paiement", "1"),
			"ready":     of("service", "commande", "1", "suivi", "1", "paiement", "0"),
			"orders":    {{nil, "1.25"}},
			"refused":   {{nil, "0.05"}},
			"failed":    {{nil, "0"}},
			"decisions": of("status", "authorized", "0.96", "rejected", "0.24"),
			"lag": {
				{map[string]string{"service": "paiement", "topic": "orders.created"}, "7"},
				{map[string]string{"service": "suivi", "topic": "orders.created"}, "0"},
				{map[string]string{"service": "suivi", "topic": "payments.authorized"}, "0"},
			},
			"age": {
				{map[string]string{"service": "paiement", "topic": "orders.created"}, "42.5"},
				{map[string]string{"service": "suivi", "topic": "orders.created"}, "0"},
			},
			"letters": {
				{map[string]string{"topic": "orders.created", "reason": "authoriser", "service": "paiement"}, "1.0169"},
				{map[string]string{"topic": "orders.created", "reason": "malformed", "service": "paiement"}, "0"},
			},
			"posts": {{nil, "1.3"}}, "posts p50": {{nil, "0.0021"}}, "posts p95": {{nil, "0.0096"}}, "posts p99": {{nil, "0.124"}},
			"processed":     of("service", "paiement", "1.2", "suivi", "0"),
			"processed p50": of("service", "paiement", "0.0213", "suivi", "NaN"),
			"processed p95": of("service", "paiement", "1.5", "suivi", "NaN"),
			"processed p99": of("service", "paiement", "240", "suivi", "NaN"),
		},
		rules: `{"name":"g","file":"f","interval":15,"rules":[
			{"type":"recording","name":"r","query":"1","health":"ok"},
			{"type":"alerting","name":"DeadLetters","query":"1","duration":0,"health":"ok","state":"firing","alerts":[
				{"activeAt":"2026-11-28T11:58:00Z","labels":{"severity":"warning","service":"paiement"},
				 "annotations":{"summary":"paiement sets records aside","runbook_url":"https://example.org/DeadLetters"},"state":"firing","value":"1"}]},
			{"type":"alerting","name":"ConsumerLagHigh","query":"1","duration":60,"health":"ok","state":"pending","alerts":[
				{"activeAt":"2026-11-28T11:59:30Z","labels":{"severity":"warning"},"annotations":{"summary":"paiement is behind"},"state":"pending","value":"1"}]},
			{"type":"alerting","name":"ServiceDown","query":"1","duration":30,"health":"ok","state":"firing","alerts":[
				{"activeAt":"2026-11-28T11:59:00Z","labels":{"severity":"critical"},"annotations":{"summary":"analyseur does not \u001b[31manswer\u001b[0m\u0007"},"state":"firing","value":"1"}]}]}`,
	}
}

const quietRules = `{"name":"g","file":"f","interval":15,"rules":[{"type":"alerting","name":"A","query":"1","duration":0,"health":"ok","alerts":[]}]}`

// quiet is a system that is well and that nobody uses.
func quiet() prometheus {
	all := theServices()
	answers := map[string][]series{
		"orders": {{nil, "0"}}, "refused": {{nil, "0"}}, "failed": {{nil, "0"}}, "posts": {{nil, "0"}},
		"decisions": of("status", "authorized", "0", "rejected", "0"), "posts p50": {{nil, "NaN"}},
		"letters": {{map[string]string{"topic": "orders.created", "reason": "authoriser", "service": "paiement"}, "0"}},
	}
	for _, s := range all {
		for _, name := range []string{"up", "ready"} {
			answers[name] = append(answers[name], series{map[string]string{"service": s.Name}, "1"})
		}
		if s.Group != "" {
			zero := series{map[string]string{"service": s.Name, "topic": "orders.created"}, "0"}
			answers["lag"], answers["age"] = append(answers["lag"], zero), append(answers["age"], zero)
			answers["processed"] = append(answers["processed"], series{map[string]string{"service": s.Name}, "0"})
		}
	}
	return prometheus{answers: answers, rules: quietRules}
}

func TestFrames(t *testing.T) {
	for name, p := range map[string]prometheus{
		"busy": busy(), "quiet": quiet(), "empty": {}, "broken": {status: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			f := watch(t, p).Look(t.Context())
			f.Problem = strings.ReplaceAll(f.Problem, f.Prometheus, "http://prometheus")
			f.Prometheus = "http://prometheus"
			golden.Compare(t, name+".txt", ansi.Strip(f.Text(100)))
			document, err := json.MarshalIndent(f, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name+".json", string(document)+"\n")
		})
	}
}

// What a Prometheus does not know is never shown as a number.
func TestUnknownIsNoNumber(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	f := watchAt(t, gone.URL).Look(t.Context())
	if !strings.Contains(f.Problem, "does not answer") {
		t.Errorf("problem %q", f.Problem)
	}
	text := ansi.Strip(f.Text(200))
	_, body, _ := strings.Cut(text, "services") // below the line that names the address
	for _, name := range []string{"last 5 min", "last 10 min", "p50", "p95", "p99"} {
		body = strings.ReplaceAll(body, name, "")
	}
	if strings.ContainsAny(body, "0123456789") || strings.Contains(body, "none") || strings.Contains(body, Ready) {
		t.Errorf("something is known:\n%s", body)
	}
}

// A text of Prometheus' cannot command the terminal.
func TestTextsAreHarmless(t *testing.T) {
	text := watch(t, busy()).Look(t.Context()).Text(200)
	if strings.Contains(text, "\x1b[31manswer") || strings.Contains(text, "\a") || !strings.Contains(text, "analyseur does not answer.") {
		t.Errorf("%q", text)
	}
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	for _, width := range []int{minWidth, 60, 100} {
		for line := range strings.Lines(watch(t, busy()).Look(t.Context()).Text(width)) {
			if got := ansi.StringWidth(strings.TrimSuffix(line, "\n")); got > width {
				t.Errorf("%d columns of %d: %q", got, width, ansi.Strip(line))
			}
		}
	}
}

func TestTheScreenAsksAgainAndQuits(t *testing.T) {
	w := watch(t, busy())
	s := newScreen(t.Context(), w.Look, time.Nanosecond)
	if text := s.View().Content; !strings.Contains(text, "asking") {
		t.Errorf("before the first answer: %q", text)
	}
	next, command := s.Update(s.Init()())
	if text := ansi.Strip(next.View().Content); !strings.Contains(text, "1.25 accepted") || !strings.Contains(text, "q quits") {
		t.Errorf("after the first answer:\n%s", text)
	}
	if _, command = next.Update(command()); command == nil {
		t.Fatal("after the interval it does not ask again")
	}
	if _, ok := command().(Frame); !ok {
		t.Error("after the interval it does not ask for a frame")
	}
	next, _ = next.Update(tea.WindowSizeMsg{Width: 50, Height: 5})
	if text := ansi.Strip(next.View().Content); strings.Count(text, "\n") != 4 || !strings.Contains(text, "make the window taller") {
		t.Errorf("in 5 lines:\n%s", text)
	}
	for _, key := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: tea.KeyEscape}, {Code: 'c', Mod: tea.ModCtrl}} {
		if _, command = next.Update(key); command == nil {
			t.Errorf("%s does not quit", key)
		} else if _, ok := command().(tea.QuitMsg); !ok {
			t.Errorf("%s does not quit", key)
		}
	}
}

// The program leaves nothing behind, however it ends.
func TestShowEnds(t *testing.T) {
	w := watch(t, quiet())
	var out bytes.Buffer
	if err := Show(t.Context(), w, time.Hour, strings.NewReader("q"), &out); err != nil || out.Len() == 0 {
		t.Errorf("%v after %q", err, out.String())
	}
	silent, sender := io.Pipe()
	defer func() { _ = sender.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Show(ctx, w, time.Hour, silent, io.Discard); err != nil {
		t.Errorf("%v where the context ends", err)
	}
}
