package paiement

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func authorise(t *testing.T, s Simulation, id string) Verdict {
	t.Helper()
	v, err := s.Authorise(t.Context(), id, 1050)
	if err != nil {
		t.Fatal(err)
	}
	if v.Authorized == (v.Code == "") || v.Authorized == (v.Reason != "") {
		t.Fatalf("verdict on %s is %+v", id, v)
	}
	return v
}

func TestAVerdictFollowsFromSeedAndOrder(t *testing.T) {
	first, other := Simulation{RejectRate: 0.5, Seed: 1}, Simulation{RejectRate: 0.5, Seed: 2}
	differ := 0
	for i := range 200 {
		id := fmt.Sprintf("order-%d", i)
		v := authorise(t, first, id)
		if again := authorise(t, first, id); again != v {
			t.Errorf("%s: %+v, then %+v", id, v, again)
		}
		if authorise(t, other, id).Authorized != v.Authorized {
			differ++
		}
	}
	if differ < 60 || differ > 140 { // 100 expected, 5.6 standard deviations either way
		t.Errorf("another seed decides %d of 200 orders differently, want about half", differ)
	}
	// What a higher rate rejects includes what a lower one does: the draw is the order's own.
	for i := range 200 {
		id := fmt.Sprintf("order-%d", i)
		if !authorise(t, Simulation{RejectRate: 0.1}, id).Authorized && authorise(t, Simulation{RejectRate: 0.6}, id).Authorized {
			t.Errorf("%s is rejected at 0.1 and authorised at 0.6", id)
		}
	}
}

func TestTheRejectRateIsKept(t *testing.T) {
	const n = 20_000
	for _, rate := range []float64{0, 0.01, 0.2, 0.5, 1} {
		reasons, codes := map[string]int{}, map[string]bool{}
		for i := range n {
			if v := authorise(t, Simulation{RejectRate: rate, Seed: 7}, fmt.Sprintf("order-%d", i)); v.Authorized {
				codes[v.Code] = true
			} else {
				reasons[v.Reason]++
			}
		}
		rejected := 0
		for _, count := range reasons {
			rejected += count
		}
		if deviation := 5 * math.Sqrt(n*rate*(1-rate)); math.Abs(float64(rejected)-n*rate) > deviation {
			t.Errorf("rate %v: %d of %d are rejected, want %v ± %.0f", rate, rejected, n, n*rate, deviation)
		}
		if len(codes) != n-rejected {
			t.Errorf("rate %v: %d codes for %d authorised payments", rate, len(codes), n-rejected)
		}
		if rate >= 0.2 && len(reasons) != 4 {
			t.Errorf("rate %v: reasons %v, want four", rate, reasons)
		}
	}
}

func TestTheErrorRateIsKept(t *testing.T) {
	const n = 2000
	for _, rate := range []float64{0, 0.5, 1} {
		failed := 0
		for range n {
			v, err := Simulation{ErrorRate: rate}.Authorise(t.Context(), "order-1", 1)
			if err != nil {
				failed++
			}
			if errors.Is(err, errAuthoriser) != (v == Verdict{}) {
				t.Fatalf("verdict %+v with %v", v, err)
			}
		}
		if deviation := 6 * math.Sqrt(n*rate*(1-rate)); math.Abs(float64(failed)-n*rate) > deviation {
			t.Errorf("rate %v: %d of %d failed, want %v ± %.0f", rate, failed, n, n*rate, deviation)
		}
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begin := Simulation{Latency: time.Minute}, time.Now()
		authorise(t, s, "order-1")
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("took %v, want a minute", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := s.Authorise(ctx, "order-1", 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(begin))
		}
		if _, err := (Simulation{}).Authorise(ctx, "order-1", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without latency, cancelled: %v", err)
		}
	})
}

func TestConfigNamesWhatIsOutOfRange(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		s    Simulation
		want string // "" is valid
	}{
		{Simulation{}, ""},
		{Simulation{RejectRate: 1, ErrorRate: 1, Latency: time.Hour}, ""},
		{Simulation{RejectRate: -0.1}, "PAIEMENT_REJECT_RATE"},
		{Simulation{RejectRate: 1.1}, "PAIEMENT_REJECT_RATE"},
		{Simulation{RejectRate: nan}, "PAIEMENT_REJECT_RATE"},
		{Simulation{RejectRate: inf}, "PAIEMENT_REJECT_RATE"},
		{Simulation{ErrorRate: -1}, "PAIEMENT_ERROR_RATE"},
		{Simulation{ErrorRate: 2}, "PAIEMENT_ERROR_RATE"},
		{Simulation{ErrorRate: nan}, "PAIEMENT_ERROR_RATE"},
		{Simulation{ErrorRate: -inf}, "PAIEMENT_ERROR_RATE"},
		{Simulation{Latency: -1}, "PAIEMENT_LATENCY"},
	}
	for _, test := range tests {
		err := Config{Simulation: test.s}.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want it to name %q", test.s, err, test.want)
		}
	}
}
