package telemetry_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestBudgetAdmitsTheFirst(t *testing.T) {
	r := telemetrytest.New(t, "shop", telemetry.Catalogue{
		{Name: "jobs_total", Kind: telemetry.Counter, Help: "Jobs.", Labels: []string{"queue"}, Bound: "three queues", MaxSeries: 4},
	})
	b := r.Instruments().Budget("jobs_total", 1)
	for _, set := range [][]string{{"a"}, {"b"}, {"a", "b"}} {
		if !b.Admit(set...) {
			t.Errorf("%q is refused with room left", set)
		}
	}
	for _, set := range [][]string{{"ab"}, {""}, {"b", "a"}, {"\xff"}, {strings.Repeat("x", 1025)}} {
		if b.Admit(set...) {
			t.Errorf("%q is admitted beyond the budget", set)
		}
	}
	if !b.Admit("a") || r.Instruments().Budget("jobs_total", 0) != b {
		t.Error("the budget forgets, or is not shared")
	}
	if r.Instruments().Budget("nothing_total", 0).Admit("a") {
		t.Error("a metric that is not in the catalogue has room")
	}
}

func TestBudgetRefusesMalformedValues(t *testing.T) {
	b := telemetrytest.New(t, "shop", nil).Instruments().Budget(telemetry.HTTPRequestsTotal, 0)
	if b.Admit("GET", "\xff\xfe") || b.Admit(strings.Repeat("x", 1025)) {
		t.Error("a value that Prometheus could not show, or of any length, is admitted")
	}
}

func TestBudgetHoldsUnderConcurrency(t *testing.T) {
	b := telemetrytest.New(t, "shop", nil).Instruments().Budget(telemetry.KafkaMessagesProducedTotal, 1)
	var admitted atomic.Int64
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 1000 {
				if b.Admit(fmt.Sprint(worker, i)) {
					admitted.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if admitted.Load() != 200 {
		t.Errorf("%d topics are admitted, want 200", admitted.Load())
	}
}
