//go:build integration && unix

package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/dashboards"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/stack"
)

func dashboardsHaveData(t *testing.T, s *stack.Stack) {
	all, err := dashboards.Load(repo.Path(t, "monitoring", "grafana", "dashboards"))
	if err != nil || len(all) != 6 {
		t.Fatalf("%d dashboards, %v", len(all), err)
	}
	for _, d := range all {
		for _, q := range dashboards.Queries(d) {
			if q.MayBeEmpty {
				continue
			}
			eventually(t, func(ctx context.Context) error {
				samples, err := s.Query(ctx, q.Expr)
				if err == nil && len(samples) == 0 {
					err = errors.New("no data")
				}
				if err != nil {
					return fmt.Errorf("%s, %s %s: %s: %w", q.Dashboard, q.Panel, q.Ref, q.Expr, err)
				}
				return nil
			})
		}
	}
}

// finding is what `vigie doctor --json` says of one part.
type finding struct {
	Part, Detail, Remedy string
	OK                   bool
	Affects              []string
}

// doctor runs `vigie doctor` on the stack. There is no Grafana.
func doctor(ctx context.Context, s *stack.Stack, shipped string) (well bool, findings []finding, err error) {
	args := []string{
		"doctor", "--json", "--prometheus-url", s.Prometheus.URL(""), "--alertmanager-url", s.Alertmanager.URL(""), "--grafana-url", "",
		"--jmx-url", s.JMXExporter.URL("/metrics"), "--node-url", s.NodeExporter.URL("/metrics"), "--dashboards", shipped,
		"--kafka-brokers", s.Kafka.Address(),
	}
	for name, address := range s.Services {
		args = append(args, "--"+name+"-addr", address)
	}
	output, err := exec.CommandContext(ctx, s.Binary, args...).Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return false, nil, err
	}
	for line := range strings.Lines(string(output)) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			return false, nil, fmt.Errorf("doctor said %q: %w", line, err)
		}
		findings = append(findings, f)
	}
	return err == nil, findings, nil
}

func doctorIsContent(t *testing.T, s *stack.Stack) {
	eventually(t, func(ctx context.Context) error {
		well, findings, err := doctor(ctx, s, repo.Path(t, "monitoring", "grafana", "dashboards"))
		if err != nil || well && len(findings) < 14 {
			return fmt.Errorf("%d findings, %w", len(findings), err)
		}
		for _, f := range findings {
			if !f.OK || !well {
				return fmt.Errorf("the doctor says %+v, well: %v", f, well)
			}
		}
		return nil
	})
}

// The services have one cause, a signal that ended them all: it is one finding,
// beside which Prometheus' targets and the consumer groups stand as what it affects.
func doctorNamesTheFault(t *testing.T, s *stack.Stack) {
	well, findings, err := doctor(t.Context(), s, repo.Path(t, "monitoring", "grafana", "dashboards"))
	if err != nil || well {
		t.Fatalf("well: %v, %v", well, err)
	}
	wrong := slices.DeleteFunc(findings, func(f finding) bool { return f.OK })
	if len(wrong) != 1 || wrong[0].Remedy == "" {
		t.Fatalf("%d findings for one cause: %+v", len(wrong), wrong)
	}
	targets := 0
	for _, other := range wrong[0].Affects {
		if strings.HasPrefix(other, "Prometheus target ") && strings.Contains(other, "is down") {
			targets++
		}
	}
	for name := range s.Services {
		if !strings.Contains(wrong[0].Part, name) {
			t.Errorf("%s is away and not named: %+v", name, wrong[0])
		}
	}
	if targets != len(s.Services) {
		t.Errorf("%d targets are affected: %+v", targets, wrong[0])
	}
}
