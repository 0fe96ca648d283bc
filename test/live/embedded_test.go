//go:build integration && unix

package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/series"
	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/internal/testenv/stack"
	"github.com/vigie-dev/vigie/internal/testenv/system"
)

// What `vigie up` carries is a Prometheus: promtool asks it, and a real Prometheus
// that is given its folder answers each shipped rule's expression as it did.
func TestTheEmbeddedPrometheusIsOne(t *testing.T) {
	for _, program := range []string{servers.Prometheus, servers.Promtool} {
		servers.Require(t, program)
	}
	up, addresses, data, embedded := startUp(t)
	orders, at := 0, time.Time{}
	eventually(t, func(ctx context.Context) error {
		for range 10 {
			orders++
			post(t, "http://"+addresses[system.Commande]+"/orders", fmt.Appendf(nil, `{"userId":"user%d","amount":%d.50,"items":["item"]}`, orders%7, 1+orders%400))
		}
		at = time.Now().Add(-10 * time.Second) // what was scraped until then is stored
		answer, err := instant(ctx, embedded, `payments_decided:increase10m > 0 and sum(service:http_requests:rate5m) > 0`, at)
		if err == nil && answer == "[]" {
			err = errors.New("the rules have recorded nothing yet")
		}
		return err
	})
	for _, args := range [][]string{
		{"check", "ready", "--url=" + embedded},
		{"check", "healthy", "--url=" + embedded},
		{"query", "instant", embedded, `up{job="services"}`},
		{"query", "range", embedded, "orders_total"},
		{"query", "series", "--match=up", embedded},
		{"query", "labels", embedded, "service"},
	} {
		out, err := exec.CommandContext(t.Context(), servers.Require(t, servers.Promtool), args...).CombinedOutput()
		if err != nil || args[0] == "query" && !strings.Contains(string(out), "commande") {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	expressions := expressions(t)
	want := answers(t, embedded, expressions, at)
	if err := up.Stop(); err != nil {
		t.Fatal(err)
	}
	other := startOn(t, filepath.Join(data, "prometheus"))
	if diff := cmp.Diff(want, answers(t, other, expressions, at)); diff != "" {
		t.Errorf("a real Prometheus answers otherwise (-embedded +real):\n%s", diff)
	}
	if found := slices.DeleteFunc(slices.Clone(expressions), func(e string) bool { return want[e] == "[]" }); len(found) < 10 {
		t.Errorf("only %d expressions of the rules find anything: %q", len(found), found)
	}
}

// startUp starts `vigie up` with its own broker and Prometheus.
func startUp(t *testing.T) (up *system.Program, services map[string]string, data, prometheus string) {
	t.Helper()
	data = t.TempDir()
	logs := t.TempDir()
	binary, err := system.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	broker, err := system.StartEmbedded(t.Context(), binary, t.TempDir(), logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Kill)
	address := proc.Address(t)
	up, services, err = system.NewUp(system.Config{Binary: binary, Brokers: broker.Address(), Data: data, Logs: logs, Prometheus: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Kill)
	if err := up.Start(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, up.LogTail())
	}
	return up, services, data, "http://" + address
}

// startOn starts a real Prometheus that scrapes nothing on a folder.
func startOn(t *testing.T, data string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 5s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "http://" + servers.StartPrometheusOn(t, proc.Address(t), config, data).Address
}

// expressions are those of the shipped rules.
func expressions(t *testing.T) []string {
	t.Helper()
	rules, err := series.Rules(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rule := range rules {
		all = append(all, rule.Expr)
		if rule.Record != "" {
			all = append(all, rule.Record)
		}
	}
	return all
}

func answers(t *testing.T, prometheus string, expressions []string, at time.Time) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, e := range expressions {
		answer, err := instant(t.Context(), prometheus, e, at)
		if err != nil {
			t.Fatal(err)
		}
		all[e] = answer
	}
	return all
}

// instant is what an expression finds at a time, in an order of its own.
func instant(ctx context.Context, prometheus, expression string, at time.Time) (string, error) {
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	path := fmt.Sprintf("%s/api/v1/query?query=%s&time=%d", prometheus, url.QueryEscape(expression), at.Unix())
	if err := stack.Get(ctx, path, &answer); err != nil {
		return "", err
	}
	if answer.Status != "success" {
		return "", fmt.Errorf("%s: %s", expression, answer.Error)
	}
	lines := []string{}
	for _, one := range answer.Data.Result {
		lines = append(lines, string(one))
	}
	slices.Sort(lines)
	return fmt.Sprint(lines), nil
}
