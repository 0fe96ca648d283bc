package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// town is a bank as a test has it be.
type town struct {
	place func(ctx context.Context, partition int32) (string, error)
	shown func(ctx context.Context) (banking.OrderStatus, error)

	mu     sync.Mutex
	placed int
}

func (b *town) Place(ctx context.Context, partition int32) (string, error) {
	b.mu.Lock()
	b.placed++
	b.mu.Unlock()
	if b.place != nil {
		return b.place(ctx, partition)
	}
	return banking.NewProbeID(0), nil
}

func (b *town) Shown(ctx context.Context, _ string) (banking.OrderStatus, error) { return b.shown(ctx) }

func always(status banking.OrderStatus) func(context.Context) (banking.OrderStatus, error) {
	return func(context.Context) (banking.OrderStatus, error) { return status, nil }
}

// fails is how a service fails.
func fails(kind error) error { return fmt.Errorf("%w: dial tcp: no", kind) }

// hang answers when its time is up.
func hang(ctx context.Context) error { <-ctx.Done(); return fails(ErrAway) }

type scene struct {
	*telemetrytest.Recorder
	*Prober
	bank *town
}

func open(t *testing.T, b *town, partitions int) *scene {
	t.Helper()
	s := &scene{Recorder: telemetrytest.New(t, "sentinelle", Catalogue()), bank: b}
	var err error
	s.Prober, err = New(Config{Interval: DefaultInterval, Bank: b, Telemetry: s.Telemetry, Log: s.Logger(), Partitions: func() int { return partitions }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What fails has the reason of the step at which it did, in its metric, its result and the log.
func TestReasons(t *testing.T) {
	created := always(banking.OrderStatusCreated)
	for _, tt := range []struct {
		name    string
		bank    *town
		decided bool // is seen in the topics
		want    Reason
	}{
		{"commande is away", &town{place: func(context.Context, int32) (string, error) { return "", fails(ErrAway) }}, false, CommandeAway},
		{"commande hangs", &town{place: func(ctx context.Context, _ int32) (string, error) { return "", hang(ctx) }}, false, Unaccepted},
		{"commande cannot", &town{place: func(context.Context, int32) (string, error) { return "", errors.New("503") }}, false, Unaccepted},
		{"commande refuses", &town{place: func(context.Context, int32) (string, error) { return "", fails(ErrRefused) }}, false, Refused},
		{"an order is made of it", &town{place: func(context.Context, int32) (string, error) { return "order-7", nil }}, false, Unmarked},
		{"paiement hangs", &town{shown: created}, false, Undecided},
		{"both hang", &town{shown: always("")}, false, Undecided},
		{"it is set aside", &town{shown: always(banking.OrderStatusFailed)}, false, DeadLettered},
		{"suivi does not see the decision", &town{shown: created}, true, Invisible},
		{"suivi does not see anything", &town{shown: always("")}, true, Invisible},
		{"suivi is away", &town{shown: func(context.Context) (banking.OrderStatus, error) { return "", fails(ErrAway) }}, true, SuiviAway},
		{"suivi hangs", &town{shown: func(ctx context.Context) (banking.OrderStatus, error) { return "", hang(ctx) }}, true, SuiviAway},
		{"suivi refuses", &town{shown: func(context.Context) (banking.OrderStatus, error) { return "", fails(ErrRefused) }}, true, SuiviRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, tt.bank, 1)
				if tt.decided {
					tt.bank.place = func(context.Context, int32) (string, error) {
						id := banking.NewProbeID(0)
						s.Saw(id)
						<-time.After(time.Millisecond)
						return id, nil
					}
				}
				for range 2 {
					s.round(t.Context())
				}
				want := map[Reason]float64{tt.want: 2}
				if tt.want == Unmarked {
					want[Unmarked] = 1 // and no more are placed
				}
				for _, reason := range Reasons() {
					if got := s.Metric(FailuresTotal, map[string]string{"reason": string(reason)}); got != want[reason] {
						t.Errorf("%s: %v", reason, got)
					}
				}
				all := s.Latest()
				if len(all) != 1 || all[0].OK || all[0].Reason != tt.want || all[0].LastSuccess != nil || tt.want != Unmarked && all[0].Detail == "" {
					t.Errorf("%+v", all)
				}
				if got := s.Metric(Success, map[string]string{"partition": "0"}); got != 0 || s.Series(LastSuccess, nil) != 0 {
					t.Errorf("%s is %v, %s has %d series", Success, got, LastSuccess, s.Series(LastSuccess, nil))
				}
				if lines := fmt.Sprint(s.Logs()); strings.Count(lines, "a probe") != 1 { // told once
					t.Errorf("the log has %s", lines)
				}
				if len(s.Spans()) != 0 {
					t.Errorf("spans: %v", s.Spans())
				}
				s.CheckCatalogue()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A probe that comes through says when it came to each step; the decision may be read before
// commande has answered, or not at all.
func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		saw   time.Duration // after it was sent; 0 for never
		steps []float64     // accepted, decided, visible
	}{
		{"the decision is seen", 40 * time.Millisecond, []float64{.02, .04, .04}},
		{"before the answer", 10 * time.Millisecond, []float64{.02, .02, .03}},
		{"by another instance", 0, []float64{.02, 0, .07}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b := &town{shown: func(context.Context) (banking.OrderStatus, error) {
					if time.Since(began) < 30*time.Millisecond {
						<-time.After(10 * time.Millisecond)
					}
					return banking.OrderStatusAuthorized, nil
				}}
				s := open(t, b, 1)
				b.place = func(context.Context, int32) (string, error) {
					id := banking.NewProbeID(0)
					if tt.saw > 0 {
						time.AfterFunc(tt.saw, func() { s.Saw(id) })
					}
					<-time.After(20 * time.Millisecond)
					return id, nil
				}
				s.round(t.Context())
				all := s.Latest()
				if len(all) != 1 || !all[0].OK || all[0].LastSuccess == nil || !all[0].LastSuccess.Equal(all[0].Ended) {
					t.Fatalf("%+v", all)
				}
				if diff := cmp.Diff(tt.steps, []float64{all[0].Accepted, all[0].Decided, all[0].Visible}); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
				for i, step := range []string{stepAccepted, stepDecided, stepVisible} {
					want := 0
					if tt.steps[i] > 0 {
						want = 1
					}
					if got := s.Series(DurationSeconds, map[string]string{"step": step}); got != want {
						t.Errorf("%s has %d series", step, got)
					}
				}
				if s.Metric(Success, map[string]string{"partition": "0"}) != 1 || s.Metric(LastSuccess, nil) != float64(all[0].Ended.UnixMilli())/1000 {
					t.Errorf("the metrics say otherwise")
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Each partition is probed in intervals, and what is long ago is not shown as if it were now.
func TestEveryPartitionInIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		partitions, seen := 3, map[int32]int{}
		var mu sync.Mutex
		b := &town{shown: always(banking.OrderStatusAuthorized)}
		b.place = func(_ context.Context, partition int32) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			seen[partition]++
			return banking.NewProbeID(0), nil
		}
		s := open(t, b, 0)
		s.cfg.Partitions = func() int { mu.Lock(); defer mu.Unlock(); return partitions }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		<-time.After(4*DefaultInterval + DefaultInterval/2)
		synctest.Wait()
		mu.Lock()
		if diff := cmp.Diff(map[int32]int{0: 5, 1: 5, 2: 5}, seen); diff != "" {
			t.Errorf("probes (-want +got):\n%s", diff)
		}
		partitions = 1
		mu.Unlock()
		<-time.After(DefaultInterval)
		synctest.Wait()
		if got := slices.Collect(maps.Keys(s.results)); !slices.Equal(got, []int32{0}) {
			t.Errorf("partitions %v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s.Series(Success, nil) != 1 || s.Metric(IntervalSeconds, nil) != 10 {
			t.Errorf("%d series", s.Series(Success, nil))
		}
		<-time.After(3*DefaultInterval + Patience)
		synctest.Wait()
		if s.Series(Success, nil) != 0 || s.Series(LastSuccess, nil) != 0 || len(s.Latest()) != 0 {
			t.Errorf("old results are shown: %+v", s.Latest())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Where commande makes orders of probes, one is placed and no more, until the token is another one.
func TestNoMoreProbesThatAreOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &town{place: func(context.Context, int32) (string, error) { return "order-1", nil }}
		s := open(t, b, 3)
		token := "old"
		s.cfg.Credential = func() any { return token }
		for range 3 {
			s.round(t.Context())
		}
		if b.placed != 1 {
			t.Errorf("%d orders were placed", b.placed)
		}
		token, b.place, b.shown = "new", nil, always(banking.OrderStatusRejected)
		s.round(t.Context())
		if b.placed != 4 || s.Metric(Success, map[string]string{"partition": "0"}) != 1 {
			t.Errorf("%d were placed: %+v", b.placed, s.Latest())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A stop while probes are under way is no failure of theirs.
func TestAStopIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &town{place: func(ctx context.Context, _ int32) (string, error) { return "", hang(ctx) }}
		s := open(t, b, 3)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := s.Run(ctx); err != nil || len(s.Latest()) != 0 {
			t.Errorf("%v, %+v", err, s.Latest())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What nobody waits for is remembered for a while, and not for ever.
func TestDecisionsNobodyAskedFor(t *testing.T) {
	var w watch
	w.saw("first")
	for i := range maxUnasked {
		w.saw(fmt.Sprint(i))
	}
	if len(w.unasked) != maxUnasked {
		t.Errorf("%d are remembered", len(w.unasked))
	}
	for id, want := range map[string]bool{"first": false, "0": true, fmt.Sprint(maxUnasked - 1): true} {
		seen, done := w.await(id)
		select {
		case <-seen:
			if !want {
				t.Errorf("%s is remembered", id)
			}
		default:
			if want {
				t.Errorf("%s is forgotten", id)
			}
		}
		done()
	}
	if len(w.waiting) != 0 {
		t.Errorf("waiting: %v", w.waiting)
	}
}
