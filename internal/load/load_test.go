//go:build !race || whole

package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// bank is the services in place of a network, so that time is the test's.
type bank struct {
	start time.Time
	hang  [2]time.Duration // from when until when nothing is answered
	lost  int              // of the orders, those with lower numbers are taken and forgotten
	takes time.Duration
	spoil func(r *http.Request, n int) (status int) // another answer than the right one; 0 for none

	mu     sync.Mutex
	n, ids int
	placed map[string]time.Time
	byKey  map[string]string
	heap   int
}

func (b *bank) RoundTrip(r *http.Request) (*http.Response, error) {
	now := time.Since(b.start)
	wait := b.takes
	if now >= b.hang[0] && now < b.hang[1] && r.URL.Path != "/metrics" {
		wait += b.hang[1] - now
	}
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, body := b.answer(r)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (b *bank) answer(r *http.Request) (int, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	if b.spoil != nil {
		if status := b.spoil(r, b.n); status != 0 {
			return status, `{}`
		}
	}
	switch {
	case r.URL.Path == "/metrics":
		return http.StatusOK, fmt.Sprintf("go_goroutines 10\nprocess_start_time_seconds 5\nprocess_cpu_seconds_total %d\n"+
			"process_memory_usage_bytes{type=\"heapUsed\"} %d\nkafka_consumer_lag{topic=\"t\"} 3\n", b.n, 1<<20+b.heap)
	case r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json":
		return b.order(r)
	case strings.HasSuffix(r.URL.Path, "/status"):
		id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/orders/"), "/status")
		at, known := b.placed[id]
		if !known {
			return http.StatusNotFound, `{}`
		}
		if time.Since(at) < 20*time.Millisecond {
			return http.StatusOK, `{"status":"ORDER_CREATED"}`
		}
		return http.StatusOK, fmt.Sprintf(`{"status":"PAYMENT_AUTHORIZED","details":{"processedAt":%q}}`, at.Add(10*time.Millisecond).Format(time.RFC3339Nano))
	case r.URL.Path == "/orders" && r.Method == http.MethodGet, r.URL.Path == "/statistics":
		return http.StatusOK, `{}`
	default:
		return http.StatusNotFound, `{}`
	}
}

func (b *bank) order(r *http.Request) (int, string) {
	body, _ := io.ReadAll(r.Body)
	var o struct {
		UserID string
		Amount json.Number
	}
	if err := json.Unmarshal(body, &o); err != nil || o.UserID == "" || strings.HasPrefix(o.Amount.String(), "-") || strings.Contains(string(body), `"12.50"`) ||
		o.Amount.String() == "1.005" || r.Header.Get("Idempotency-Key") == "\"" {
		return http.StatusBadRequest, `{}`
	}
	key := r.Header.Get("Idempotency-Key")
	id, known := b.byKey[key]
	if key == "" || !known {
		b.ids++
		id = fmt.Sprintf("order-%d", b.ids)
		if b.lost > 0 {
			b.lost--
		} else {
			b.placed[id] = time.Now()
		}
		b.byKey[key] = id
	}
	return http.StatusCreated, fmt.Sprintf(`{"orderId":%q}`, id)
}

// base is a load of the bank, whose start is now.
func (b *bank) base(t *testing.T, rate float64, length time.Duration) Config {
	t.Helper()
	b.start, b.placed, b.byKey = time.Now(), map[string]time.Time{}, map[string]string{}
	curve, err := NewCurve(Constant, rate, length)
	if err != nil {
		t.Fatal(err)
	}
	one := []Target{{URL: "http://bank"}}
	return Config{
		Name: Constant, Curve: curve, Mix: DefaultMix(), Seed: 1, Users: 10, Commande: one, Suivi: one, Analyseur: one,
		Pages: []Page{{"commande", "http://bank"}, {"suivi", "http://bank"}}, Transport: b, InFlight: DefaultInFlight, Timeout: DefaultTimeout,
		Patience: 5 * time.Second, Objectives: DefaultObjectives(),
		Audit: func(context.Context) (Audited, error) { return Audited{Clean: true, Detail: "clean"}, nil },
	}
}

func (r Report) kind(k Kind) KindReport {
	for _, one := range r.Requests {
		if one.Kind == k {
			return one
		}
	}
	return KindReport{}
}

func (r Report) check(name string) Check {
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return Check{}
}

func mustRun(t *testing.T, ctx context.Context, cfg Config) Report {
	t.Helper()
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestABankThatIsWellPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: 3 * time.Millisecond}
		r := mustRun(t, t.Context(), b.base(t, 100, 20*time.Second))
		if !r.Passed || r.Interrupted || len(r.Answers) > 0 {
			t.Fatalf("%s", r.Text())
		}
		var due int64
		for _, k := range r.Requests {
			due += k.Due
		}
		if due != 2000 || r.kind(Order).Good < 1000 || r.kind(Wrong).Good == 0 || r.kind(Repeat).Good == 0 {
			t.Errorf("%s", r.Text())
		}
		if p := r.Promised; p.Asked != int64(len(b.placed)) || p.Authorized != p.Asked {
			t.Errorf("%+v of %d", p, len(b.placed))
		}
		if j := r.Journeys; j.Followed < 100 || j.Late > 0 || j.Decided.P50 < 1 || j.Decided.P50 > 11 || j.Visible.P50 < 20 {
			t.Errorf("%+v", j)
		}
		if len(r.Processes) != 1 || r.Processes[0].Name() != "commande, suivi" || len(r.Lag) != 2 || r.Lag[0].Peak != 3 {
			t.Errorf("%+v, %+v", r.Processes, r.Lag)
		}
		if len(r.Timeline) != 20 || r.Timeline[10].Planned != 100 || r.Timeline[10].Good != 100 {
			t.Errorf("%+v", r.Timeline)
		}
	})
}

// A bank that hangs for a second makes all wait who come within it. With few places
// most of them wait to be sent: who measures from then on sees five slow requests of
// a thousand; from when they were due, it is a tenth of all.
func TestAHangingBankIsSeenByAllWhoCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{hang: [2]time.Duration{5 * time.Second, 6 * time.Second}, takes: time.Millisecond}
		cfg := b.base(t, 100, 10*time.Second)
		cfg.Mix, cfg.InFlight = Mix{Order: 1}, 5
		r := mustRun(t, t.Context(), cfg)
		k := r.kind(Order)
		if k.Due != 1000 || k.Good != 1000 {
			t.Fatalf("%+v", k)
		}
		if k.Service.P99 > 10 || k.Latency.P90 > 50 || k.Latency.P99 < 850 || k.Latency.Max < 990 {
			t.Errorf("from when they were sent %+v, from when they were due %+v", k.Service, k.Latency)
		}
		if slow := k.Good - k.Fast; slow < 45 || slow > 60 { // those of the first half second
			t.Errorf("%d orders took longer than half a second", slow)
		}
		if r.check(CheckLatency).State != Failed || r.check(CheckAvailable).State != Passed || r.Generator.Full == 0 || len(r.Limits) == 0 {
			t.Errorf("%s", r.Text())
		}
		if m := r.Timeline[5]; m.P50 < 300 || r.Timeline[3].P99 > 10 {
			t.Errorf("%+v", r.Timeline)
		}
	})
}

// A bank that does not come back keeps no more waiting than there are places, and
// what could not be sent in time is told.
func TestWhatCannotBeSentIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{hang: [2]time.Duration{2 * time.Second, time.Hour}}
		cfg := b.base(t, 50, 30*time.Second)
		cfg.Mix, cfg.InFlight, cfg.Timeout = Mix{Order: 1}, 10, 5*time.Second
		r := mustRun(t, t.Context(), cfg)
		k := r.kind(Order)
		if k.Due != 1500 || k.Good != 100 || k.Unsent == 0 || k.Sent+k.Unsent != k.Due || k.Failed != k.Sent-k.Good {
			t.Errorf("%+v", k)
		}
		for name, want := range map[string]State{CheckAvailable: Failed, CheckGenerator: Failed, CheckPromised: Unknown} {
			if got := r.check(name); got.State != want {
				t.Errorf("%+v, want %s", got, want)
			}
		}
	})
}

// An interruption ends the sending; what was promised is asked for all the same.
func TestAnInterruptionEndsWithTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: 30 * time.Millisecond}
		cfg := b.base(t, 100, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		var stages []string
		cfg.Progress = func(p Progress) { stages = append(stages, p.Stage) }
		r := mustRun(t, ctx, cfg)
		if !r.Interrupted || !r.Passed || r.Promised.Asked < 150 || r.Promised.Authorized != r.Promised.Asked || r.SendingSeconds > 4 {
			t.Errorf("%s", r.Text())
		}
		if len(stages) < 4 || stages[0] != "sending" || stages[len(stages)-1] != "asking for every order" {
			t.Errorf("%v", stages)
		}
	})
}

// Whatever goes wrong has a check that says so.
func TestABankThatFails(t *testing.T) {
	post := func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json"
	}
	for name, tt := range map[string]struct {
		bank   *bank
		change func(*Config)
		check  string
		want   State
		why    string
	}{
		"one order in fifty is refused as unavailable": {
			bank:  &bank{spoil: func(r *http.Request, n int) int { return map[bool]int{true: 503}[post(r) && n%50 == 0] }},
			check: CheckAvailable, want: Failed, why: "want 99.9 %",
		},
		"orders are slow":          {bank: &bank{takes: 600 * time.Millisecond}, check: CheckLatency, want: Failed, why: "500ms"},
		"accepted orders are lost": {bank: &bank{lost: 3}, check: CheckPromised, want: Failed, why: "3 are missing in suivi and 0 are not decided: order-"},
		"orders are never seen":    {bank: &bank{lost: 1 << 20}, check: CheckVisible, want: Failed, why: "0 % of"},
		"wrong orders are taken":   {bank: &bank{spoil: func(r *http.Request, _ int) int { return map[bool]int{true: 201}[r.Method == http.MethodDelete] }}, change: func(c *Config) { c.Mix = Mix{Order: 50, Wrong: 50} }, check: CheckAnswers, want: Failed, why: "not to get"},
		"reads fail":               {bank: &bank{spoil: func(r *http.Request, _ int) int { return map[bool]int{true: 500}[r.URL.Path == "/statistics"] }}, check: CheckAnswers, want: Failed, why: "not answered"},
		"a token is wanted":        {bank: &bank{spoil: func(r *http.Request, _ int) int { return map[bool]int{true: 401}[post(r)] }}, check: CheckAnswers, want: Failed, why: "not to get"},
		"suivi has gone": {bank: &bank{spoil: func(r *http.Request, n int) int {
			return map[bool]int{true: 502}[n > 1000 && strings.HasSuffix(r.URL.Path, "/status")]
		}}, check: CheckPromised, want: Unknown, why: "did not say"},
		"the audit finds something":  {change: func(c *Config) { c.Audit = audits(Audited{Detail: "order-4 is missing"}, nil) }, check: CheckAudit, want: Failed, why: "order-4 is missing"},
		"the audit cannot be done":   {change: func(c *Config) { c.Audit = audits(Audited{}, errors.New("no broker")) }, check: CheckAudit, want: Failed, why: "could not be done: no broker"},
		"something does not break":   {change: breaks(errors.New("there are no switches")), check: CheckFaults, want: Failed, why: "kafka-away could not be broken: there are no switches"},
		"nobody knows about memory":  {change: func(c *Config) { c.Pages = nil }, check: CheckMemory, want: Unknown, why: "no service's page"},
		"goroutines cannot be asked": {change: func(c *Config) { c.Pages = nil }, check: CheckGoroutines, want: Unknown, why: "no service's page"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := cmp.Or(tt.bank, &bank{})
				cfg := b.base(t, 50, 10*time.Second)
				cfg.Patience = time.Second
				if tt.change != nil {
					tt.change(&cfg)
				}
				r := mustRun(t, t.Context(), cfg)
				if c := r.check(tt.check); r.Passed || c.State != tt.want || !strings.Contains(c.Detail, tt.why) {
					t.Errorf("%+v\n%s", c, r.Text())
				}
				if !strings.Contains(r.Sentence(), tt.check) {
					t.Errorf("the verdict does not name %s: %s", tt.check, r.Sentence())
				}
			})
		})
	}
}

func breaks(err error) func(*Config) {
	return func(c *Config) {
		c.Faults = []Fault{{"kafka-away", 2 * time.Second, time.Second}}
		c.Break = func(context.Context, Fault) error { return err }
	}
}

// What is to be broken is broken when its time has come, in the order of time.
func TestThingsAreBrokenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{}
		cfg := b.base(t, 50, 10*time.Second)
		cfg.Faults = []Fault{{"second", 5 * time.Second, time.Second}, {"first", 2 * time.Second, 3 * time.Second}}
		var when []string
		cfg.Break = func(_ context.Context, f Fault) error {
			when = append(when, fmt.Sprint(f.Name, time.Since(b.start)))
			return nil
		}
		r := mustRun(t, t.Context(), cfg)
		if !r.Passed || fmt.Sprint(when) != "[first2s second5s]" || len(r.Faults) != 2 || r.check(CheckFaults).State != Passed {
			t.Errorf("%v\n%s", when, r.Text())
		}
	})
}

func audits(a Audited, err error) func(context.Context) (Audited, error) {
	return func(context.Context) (Audited, error) { return a, err }
}

// A climb ends beyond the knee, and names the last rate that held.
func TestTheKneeIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: time.Millisecond}
		cfg := b.base(t, 1, time.Second)
		var err error
		if cfg.Curve, err = Stairs(40, time.Minute*5, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		cfg.Step, cfg.Mix = 10*time.Second, Mix{Order: 1}
		b.spoil = func(r *http.Request, _ int) int { // from the fourth step on, at 78 a second, half of it fails
			return map[bool]int{true: 503}[r.Method == http.MethodPost && time.Since(b.start) > 30*time.Second && b.n%2 == 0]
		}
		r := mustRun(t, t.Context(), cfg)
		if k := r.Knee; k == nil || !k.Found || k.Rate < 62 || k.Rate > 63 || len(k.Steps) > 8 {
			t.Errorf("%+v", k)
		}
		if c := r.check(CheckKnee); !r.Passed || c.State != Passed || !strings.Contains(c.Detail, "up to 62 ") && !strings.Contains(c.Detail, "up to 63 ") {
			t.Errorf("%s", r.Text())
		}
	})
}

// One step that does not hold is no knee: two in a row are, or the last.
func TestALoneStepIsNoKnee(t *testing.T) {
	for steps, want := range map[string]Knee{
		"-++-+--+": {Rate: 5, Found: true}, "++++": {Rate: 4}, "+++-": {Rate: 3, Found: true}, "--+": {Found: true}, "-": {Found: true},
	} {
		cfg := Config{Objectives: DefaultObjectives(), Step: time.Second}
		for i := range steps {
			at, rate := time.Duration(i)*time.Second, float64(i+1)
			cfg.Curve = append(cfg.Curve, Point{at, rate}, Point{at + time.Second, rate})
		}
		r := newRecord(&cfg)
		for i, held := range steps {
			result := map[rune]result{'+': good, '-': failed}[held]
			r.add(outcome{kind: Order, due: time.Duration(i) * time.Second, result: result})
		}
		if k := r.knee(newFollower(&cfg, nil)); k.Rate != want.Rate || k.Found != want.Found {
			t.Errorf("%s: the knee is %v, %v; want %v, %v", steps, k.Rate, k.Found, want.Rate, want.Found)
		}
	}
}

func TestWrongConfigurations(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no curve":       func(c *Config) { c.Curve = nil },
		"no mix":         func(c *Config) { c.Mix = Mix{"tea": 1} },
		"nowhere":        func(c *Config) { c.Commande = nil },
		"no place":       func(c *Config) { c.InFlight = 0 },
		"no time":        func(c *Config) { c.Timeout = 0 },
		"too much time":  func(c *Config) { c.Timeout = time.Hour },
		"no user":        func(c *Config) { c.Users = 0 },
		"negative waits": func(c *Config) { c.Patience = -1 },
	} {
		cfg := (&bank{}).base(t, 1, time.Second)
		change(&cfg)
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
