//go:build integration && unix

package monitoring_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

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

// Pending counts as well: what waits now would fire later. A scrape may fail
// once on a loaded machine, hence not at every moment.
func nothingIsAlerted(t *testing.T, s *stack.Stack) {
	// The longest wait of a rule about the services is two minutes; each rule
	// has been evaluated with data for longer than its shortest.
	eventually(t, func(ctx context.Context) error {
		samples, err := s.Query(ctx, `ALERTS`)
		if err != nil {
			return err
		}
		var errs []error
		for _, sample := range samples {
			errs = append(errs, fmt.Errorf("alert %v", sample.Metric))
		}
		return errors.Join(errs...)
	})
	samples, err := s.Query(t.Context(), `max_over_time(ALERTS{alertstate="firing"}[1h])`)
	if err != nil || len(samples) != 0 {
		t.Errorf("alerts have fired: %v, %v", samples, err)
	}
	if text := s.Sink.Output(); strings.Contains(text, "alert firing") {
		t.Errorf("the sink was told of alerts:\n%s", text)
	}
}

// The way of an alert from the scrape to the log.
func deathIsAlerted(t *testing.T, s *stack.Stack) {
	s.System.Kill()
	want := slices.Sorted(maps.Keys(s.Services))
	eventually(t, func(context.Context) error {
		if told := slices.Sorted(maps.Keys(toldOf(t, s, "ServiceDown"))); !slices.Equal(told, want) {
			return fmt.Errorf("the sink was told of %v, want %v; it wrote:\n%s", told, want, s.Sink.Output())
		}
		return nil
	})
	samples, err := s.Query(t.Context(), `ALERTS{alertname!="ServiceDown",alertstate="firing"}`)
	if err != nil || len(samples) != 0 {
		t.Errorf("other alerts fire: %v, %v", samples, err)
	}
}

// toldOf returns the services whose alert the sink has logged.
func toldOf(t *testing.T, s *stack.Stack, alert string) map[string]bool {
	t.Helper()
	told := map[string]bool{}
	for line := range strings.Lines(s.Sink.Output()) {
		var record struct{ Msg, Alert, Severity, Status, Summary, Runbook string }
		if json.Unmarshal([]byte(line), &record) != nil || record.Msg != "alert firing" {
			continue // the line that says where it listens
		}
		if record.Alert != alert || record.Severity != "critical" || !strings.HasSuffix(record.Runbook, "/"+alert+".md") {
			t.Fatalf("the sink was told %+v", record)
		}
		service, _, _ := strings.Cut(record.Summary, " ")
		told[service] = true
	}
	return told
}
