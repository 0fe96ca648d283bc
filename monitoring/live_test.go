//go:build integration && unix

package monitoring_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

// patience is how long a test waits for what should take seconds, or the time
// that a rule takes by design.
const patience = 3 * time.Minute

// The shipped configuration on the real servers, with the services under load.
// The parts share one stack, and the last one ends it.
func TestLive(t *testing.T) {
	s := stack.Start(t, ".")
	t.Run("every target is up", func(t *testing.T) { targetsAreUp(t, s) })
	t.Run("every rule works and every recorded series is there", func(t *testing.T) { rulesWork(t, s) })
	t.Run("every series of a rule is there", func(t *testing.T) { seriesAreThere(t, s) })
	t.Run("recorded pages are those of these servers", func(t *testing.T) { pagesAreCurrent(t, s) })
	t.Run("exemplars lead to traces", func(t *testing.T) { exemplarsAreStored(t, s) })
	t.Run("alerts arrive", func(t *testing.T) { alertmanagerIsKnown(t, s) })
	t.Run("every query of every dashboard finds data", func(t *testing.T) { dashboardsHaveData(t, s) })
	t.Run("the doctor finds all well", func(t *testing.T) { doctorIsContent(t, s) })
	t.Run("nothing is alerted", func(t *testing.T) { nothingIsAlerted(t, s) })
	t.Run("services that die are alerted, and nothing else", func(t *testing.T) { deathIsAlerted(t, s) })
	t.Run("the doctor names what is away", func(t *testing.T) { doctorNamesTheFault(t, s) })
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func targetsAreUp(t *testing.T, s *stack.Stack) {
	want := map[string]int{"services": 4, "kafka": 1, "node": 1, "prometheus": 1, "alertmanager": 1}
	eventually(t, func(ctx context.Context) error {
		var targets struct {
			ActiveTargets []struct {
				Labels                       map[string]string
				Health, LastError, ScrapeURL string
			}
		}
		if err := s.API(ctx, "/api/v1/targets?state=active", &targets); err != nil {
			return err
		}
		up := map[string]int{}
		for _, target := range targets.ActiveTargets {
			if target.Health != "up" {
				return fmt.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError)
			}
			up[target.Labels["job"]]++
		}
		if !maps.Equal(up, want) {
			return fmt.Errorf("targets up: %v, want %v", up, want)
		}
		return nil
	})
	samples, err := s.Query(t.Context(), `count by (service) (up{job="services"})`)
	if err != nil || len(samples) != want["services"] {
		t.Errorf("services by the label of their target: %v, %v", samples, err)
	}
	if samples, err = s.Query(t.Context(), `{exported_service!=""}`); err != nil || len(samples) != 0 {
		t.Errorf("%d series had their label service renamed, %v", len(samples), err)
	}
}

func exemplarsAreStored(t *testing.T, s *stack.Stack) {
	for _, metric := range []string{"http_request_duration_seconds_bucket", "kafka_message_processing_duration_seconds_bucket"} {
		eventually(t, func(ctx context.Context) error {
			var series []struct {
				Exemplars []struct{ Labels map[string]string }
			}
			path := "/api/v1/query_exemplars?query=" + metric + "&start=0&end=4000000000"
			if err := s.API(ctx, path, &series); err != nil {
				return err
			}
			for _, one := range series {
				for _, exemplar := range one.Exemplars {
					if len(exemplar.Labels["trace_id"]) == 32 {
						return nil
					}
				}
			}
			return fmt.Errorf("%s: %d series with exemplars, none with a trace id", metric, len(series))
		})
	}
}
