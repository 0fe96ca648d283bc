package sentinelle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// vault is a bank to audit, in memory: orders that nobody has decided yet, and
// what a test has put wrong.
type vault struct {
	mu       sync.Mutex // guards the rest
	start    int64      // where the log begins
	orders   int64      // where it ends
	orphans  int64      // rows of the ledger of which the log knows nothing
	away     error      // why there is no connection
	broken   error      // why the state cannot be read
	missing  string     // whose state is not there
	took     time.Duration
	openings int
	endings  int
	read     int64 // records
	since    time.Time
}

func (v *vault) change(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

func (v *vault) open(context.Context) (audit.Config, func() error, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.away != nil {
		return audit.Config{}, nil, v.away
	}
	v.openings++
	return audit.Config{
		Bounds: v.bounds, State: v.state, Scan: v.scan,
		Written: func(context.Context, ...string) (map[record.Partition]int64, error) { return nil, nil },
		From: func(spans []kafka.Span, since time.Time) ([]kafka.Span, error) {
			v.change(func() { v.since = since })
			return spans, nil
		},
	}, func() error { v.change(func() { v.endings++ }); return nil }, nil
}

func (v *vault) bounds(topics ...string) (out []kafka.Span, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, topic := range topics {
		s := kafka.Span{Partition: record.Partition{Topic: topic}}
		if topic == banking.TopicOrdersCreated {
			s.Start, s.End = v.start, v.orders
		}
		out = append(out, s)
	}
	return out, nil
}

func (v *vault) scan(_ context.Context, spans []kafka.Span, read func(record.Record) error) error {
	for _, s := range spans {
		for i := s.Start; i < s.End; i++ {
			m, err := delivery.Encode(banking.OrderCreated{
				EventID: fmt.Sprintf("event-%d", i), OrderID: fmt.Sprintf("order-%d", i), UserID: "user", Amount: 100,
				Items: []string{"book"}, Status: banking.StatusCreated, CreatedAt: noon(),
			}, "")
			if err != nil {
				return err
			}
			r := record.Record{Place: record.Place{Partition: s.Partition, Offset: i}, Key: m.Key, Value: m.Value, Headers: m.Headers, Time: noon()}
			if err := read(r); err != nil {
				return err
			}
			v.change(func() { v.read++ })
		}
	}
	return nil
}

func (v *vault) state(ctx context.Context, rows *audit.Rows) (audit.State, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.orphans {
		if err := rows.Ledger(audit.LedgerRow{OrderID: fmt.Sprintf("lost-%d", i), Status: banking.StatusAuthorized, Amount: 250, ProcessedAt: noon()}); err != nil {
			return audit.State{}, err
		}
	}
	s := audit.State{
		Paiement: &audit.Paiement{Positions: audit.Positions{{Topic: banking.TopicOrdersCreated}: v.start}},
		Suivi:    &audit.Suivi{}, Analyseur: &audit.Analyseur{}, NotLookedAt: map[string]string{},
	}
	if v.missing != "" {
		s.Suivi, s.NotLookedAt["suivi"] = nil, v.missing
	}
	if err := lifecycle.Sleep(ctx, v.took); err != nil {
		return s, err
	}
	return s, v.broken
}

// audited is a schedule over a vault, which runs until the test is over.
type audited struct {
	*telemetrytest.Recorder
	*vault
}

func auditEvery(t *testing.T, v *vault, cfg AuditConfig) audited {
	t.Helper()
	r := telemetrytest.New(t, Name, auditCatalogue())
	cfg.Open, cfg.TempDir = v.open, t.TempDir()
	a, err := newAuditing(cfg, r.Logger(), r.Instruments())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		v.change(func() {
			if v.endings != v.openings {
				t.Errorf("%d connections were opened, and %d ended", v.openings, v.endings)
			}
		})
	})
	synctest.Wait()
	return audited{r, v}
}

// after lets time go by, and all that happens in it.
func (a audited) after(t *testing.T, d time.Duration) {
	_ = lifecycle.Sleep(t.Context(), d)
	synctest.Wait()
}

// figures are the audit's gauges that are there.
func (a audited) figures() map[string]float64 {
	out := map[string]float64{}
	for _, name := range []string{auditOrders, auditUnaccounted, auditEuros, auditDifferences, auditLookedAt} {
		if a.Series(name, nil) > 0 {
			out[name] = a.Metric(name, nil)
		}
	}
	return out
}

func (a audited) runs(outcome string) float64 {
	return a.Metric(auditRuns, map[string]string{"outcome": outcome})
}

func TestTheBankIsAuditedOnASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := auditEvery(t, &vault{orders: 7}, AuditConfig{Interval: 5 * time.Minute})
		want := map[string]float64{auditOrders: 7, auditUnaccounted: 0, auditEuros: 0, auditDifferences: 0, auditLookedAt: 3}
		if diff := cmp.Diff(want, a.figures()); diff != "" {
			t.Errorf("after the first (-want +got):\n%s", diff)
		}
		if got := a.Series(auditDifferences, nil); got != len(audit.Kinds()) {
			t.Errorf("%d kinds of differences, want all %d", got, len(audit.Kinds()))
		}
		began := time.Now()
		if got := a.Metric(auditSuccess, nil); got != float64(began.Unix()) {
			t.Errorf("last success at %v, want %v", got, began.Unix())
		}
		a.change(func() { a.orders = 9 })
		a.after(t, 5*time.Minute)
		if got := a.Metric(auditOrders, nil); got != 9 || a.read != 9 || a.openings != 1 {
			t.Errorf("%v orders, %d records read of 9, %d connections", got, a.read, a.openings)
		}
		if got := a.Metric(auditSuccess, nil); got != float64(began.Add(5*time.Minute).Unix()) {
			t.Errorf("last success at %v", got)
		}
		if a.runs(outcomeAccounted) != 2 || a.Series(auditRuns, nil) != len(auditOutcomes()) || a.Metric(auditPause, nil) != 300 {
			t.Errorf("%s", a.Page())
		}
		if logs := a.Logs(); len(logs) != 0 {
			t.Errorf("logged: %v", logs)
		}
		a.CheckCatalogue()
	})
}

// What is wrong shows as long as it is wrong, and is logged once.
func TestAnAuditThatFindsSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := auditEvery(t, &vault{orders: 7, orphans: 2}, AuditConfig{Interval: time.Minute})
		a.after(t, 10*time.Minute)
		if got := a.Metric(auditDifferences, map[string]string{"kind": string(audit.LedgerWithoutResult)}); got != 2 {
			t.Errorf("%v differences, want 2", got)
		}
		if a.runs(outcomeDiffers) < 2 || a.Series(auditSuccess, nil) != 1 {
			t.Errorf("%v runs", a.runs(outcomeDiffers))
		}
		logs := a.Logs()
		if len(logs) != 1 || logs[0]["level"] != "WARN" || logs[0]["differences"] != 2.0 || logs[0]["order_id"] != "lost-0" {
			t.Errorf("logged: %v", logs)
		}
		a.change(func() { a.orphans = 0 })
		a.after(t, 10*time.Minute)
		if got := a.Metric(auditDifferences, nil); got != 0 || len(a.Logs()) != 2 {
			t.Errorf("%v differences after the repair; logged: %v", got, a.Logs())
		}
	})
}

// An audit that fails, or cannot tell, leaves no figures of the one before, and no
// zero that proves nothing.
func TestAnAuditThatCannotSee(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil   func(*vault)
		outcome string
		want    map[string]float64
	}{
		"no connection":   {func(v *vault) { v.away = errors.New("away") }, outcomeFailed, map[string]float64{}},
		"no state":        {func(v *vault) { v.broken = errors.New("broken") }, outcomeFailed, map[string]float64{}},
		"a hanging state": {func(v *vault) { v.took = 24 * time.Hour }, outcomeFailed, map[string]float64{}},
		"a service's storage is gone": {
			func(v *vault) { v.missing = "it is not there" }, outcomeCannotTell, map[string]float64{auditOrders: 7, auditLookedAt: 2},
		},
		"a service's storage is gone, and something is wrong": {
			func(v *vault) { v.missing, v.orphans = "it is not there", 3 }, outcomeDiffers,
			map[string]float64{auditOrders: 7, auditDifferences: 3, auditLookedAt: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := auditEvery(t, &vault{orders: 7}, AuditConfig{Interval: time.Minute})
				first := a.Metric(auditSuccess, nil)
				a.change(func() {
					if tt.spoil(a.vault); a.away != nil {
						a.broken = a.away // the connection is lost, and no other can be had
					}
				})
				a.after(t, 2*time.Hour)
				if diff := cmp.Diff(tt.want, a.figures()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if a.runs(tt.outcome) == 0 || a.Metric(auditSuccess, nil) != first {
					t.Errorf("%s", a.Page())
				}
				if logs := a.Logs(); len(logs) != 1 || logs[0]["level"] != "WARN" {
					t.Errorf("logged: %v", logs)
				}
				a.change(func() { a.away, a.broken, a.missing, a.orphans, a.took = nil, nil, "", 0, 0 })
				a.after(t, 2*time.Hour)
				if got := a.figures(); got[auditLookedAt] != 3 || a.Metric(auditSuccess, nil) == first {
					t.Errorf("after it is fixed: %v", got)
				}
			})
		})
	}
}

// Before its first audit has ended it shows none.
func TestNothingIsKnownBeforeTheFirstAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := auditEvery(t, &vault{took: time.Minute}, AuditConfig{Interval: time.Minute})
		if got := a.figures(); len(got) != 0 || a.Series(auditSuccess, nil) != 0 {
			t.Errorf("%s", a.Page())
		}
	})
}

// Audits take a twentieth of the time at the most, and what they found is not shown
// as if it were new while the next one hangs.
func TestAuditsThatTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := auditEvery(t, &vault{took: time.Minute}, AuditConfig{Interval: time.Minute})
		a.after(t, 2*time.Hour)
		if got := a.runs(outcomeAccounted); got != 6 || a.Metric(auditPause, nil) != 20*60 {
			t.Errorf("%v audits in two hours of which each takes a minute, %v s apart", got, a.Metric(auditPause, nil))
		}
		a.change(func() { a.took = 24 * time.Hour })
		a.after(t, 65*time.Minute)
		if got := a.figures(); len(got) != 0 {
			t.Errorf("an hour after the last audit: %v", got)
		}
	})
}

// What has become of the log decides whether it is read anew.
func TestWhenTheLogIsReadAnew(t *testing.T) {
	for name, tt := range map[string]struct {
		window time.Duration
		change func(*vault)
		after  time.Duration
		want   int64 // records read
	}{
		"nothing has changed":          {0, func(*vault) {}, 3 * time.Hour, 7},
		"retention has cut it":         {0, func(v *vault) { v.start = 2 }, 50 * time.Minute, 7},
		"retention cut it an hour ago": {0, func(v *vault) { v.start = 2 }, 70 * time.Minute, 12},
		"unread records were cut":      {0, func(v *vault) { v.start, v.orders = 9, 10 }, time.Minute, 8},
		"the topic is another":         {0, func(v *vault) { v.orders = 3 }, time.Minute, 10},
		"the window has moved on":      {2 * time.Hour, func(*vault) {}, 121 * time.Minute, 14},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := auditEvery(t, &vault{orders: 7}, AuditConfig{Interval: time.Minute, Window: tt.window})
				began := time.Now()
				a.change(func() { tt.change(a.vault) })
				a.after(t, tt.after)
				if a.read != tt.want || a.runs(outcomeFailed) != 0 {
					t.Errorf("%d records were read, want %d; %v failed", a.read, tt.want, a.runs(outcomeFailed))
				}
				if tt.window > 0 && (a.since.Before(began.Add(-tt.window)) || a.since.After(time.Now().Add(-tt.window))) {
					t.Errorf("read since %v, want %v before %v", a.since, tt.window, time.Now())
				}
				if got := a.Metric(auditOrders, nil); tt.window == 0 && got != float64(tt.want-7) && tt.want > 7 {
					t.Errorf("%v orders", got)
				}
			})
		})
	}
}

// Where nobody wants audits there are none, and the metrics say so.
func TestNoAudits(t *testing.T) {
	r := telemetrytest.New(t, Name, auditCatalogue())
	for _, cfg := range []AuditConfig{{}, {Interval: time.Minute}} {
		a, err := newAuditing(cfg, r.Logger(), r.Instruments())
		if err != nil || a.pause != 0 {
			t.Errorf("%+v: %v, %v", cfg, a.pause, err)
		}
	}
	if !strings.Contains(r.Page(), auditPause+`{service="sentinelle"} 0`) || r.Series(auditOrders, nil) != 0 {
		t.Errorf("%s", r.Page())
	}
}
