package sentinelle

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
)

// AuditConfig says how the bank is audited on a schedule.
type AuditConfig struct {
	// Interval is how long after one audit the next begins; 0 stands for none at
	// all. Where audits would take more than a twentieth of the time, it is longer.
	Interval time.Duration
	// Window is how long ago the oldest orders were created that are looked at, at
	// the least; 0 stands for all that the log has.
	Window time.Duration
	// TempDir is where temporary files are kept; "" stands for the system's folder.
	TempDir string
	// Open connects to what is audited, and returns what ends the connection.
	Open func(context.Context) (audit.Config, func() error, error)
}

const (
	// auditShare is the part of the time that audits may take: one in so many.
	auditShare = 20
	// auditRetry is after which time an audit that failed is tried again, at most.
	auditRetry = 30 * time.Second
	// auditAnew is how long what was read of the log is kept although retention has
	// cut a part of it since.
	auditAnew = time.Hour
	// auditTimeout ends an audit that hangs.
	auditTimeout = time.Hour
	// auditPatience is how long what differs is looked at again before it counts.
	auditPatience = 2 * time.Second
	// auditMemory is for sorting, in bytes.
	auditMemory = 8 << 20
)

// Names of the audit's metrics.
const (
	auditRuns        = "audit_runs_total"
	auditPause       = "audit_interval_seconds"
	auditSuccess     = "audit_last_success_timestamp_seconds"
	auditOrders      = "audit_orders"
	auditUnaccounted = "audit_unaccounted_orders"
	auditEuros       = "audit_difference_euros"
	auditDifferences = "audit_differences"
	auditLookedAt    = "audit_looked_at"
)

// What comes of an audit.
const (
	outcomeAccounted  = "accounted_for"
	outcomeDiffers    = "differences"
	outcomeCannotTell = "cannot_tell"
	outcomeFailed     = "failed"
)

func auditOutcomes() []string {
	return []string{outcomeAccounted, outcomeDiffers, outcomeCannotTell, outcomeFailed}
}

// auditCatalogue returns the metrics of the audit.
func auditCatalogue() telemetry.Catalogue {
	const absent = " Absent while the last audit failed or could not tell."
	return telemetry.Catalogue{
		{
			Name: auditRuns, Kind: telemetry.Counter, Labels: []string{"outcome"},
			Help:  "Audits by what came of them.",
			Bound: strings.Join(auditOutcomes(), ", "), MaxSeries: len(auditOutcomes()),
		},
		{
			Name: auditPause, Kind: telemetry.Gauge, Unit: "s",
			Help: "How long after the last audit the next begins; 0 where there are none.",
		},
		{
			Name: auditSuccess, Kind: telemetry.Gauge, Unit: "s",
			Help: "When the last audit ended that could tell whether every order is accounted for, in seconds since 1970; absent before the first.",
		},
		{Name: auditOrders, Kind: telemetry.Gauge, Help: "Orders that the last audit looked at." + absent},
		{Name: auditUnaccounted, Kind: telemetry.Gauge, Help: "Orders that are lost, or decided and never published." + absent},
		{Name: auditEuros, Kind: telemetry.Gauge, Unit: "EUR", Help: "Euros that the audit's differences are about." + absent},
		{
			Name: auditDifferences, Kind: telemetry.Gauge, Labels: []string{"kind"},
			Help:  "Differences that the last audit found." + absent,
			Bound: "the kinds in docs/audit.md", MaxSeries: len(audit.Kinds()),
		},
		{
			Name: auditLookedAt, Kind: telemetry.Gauge, Labels: []string{"part"},
			Help:  "1 where the last audit looked at the service's state, 0 where it had the log alone. Absent while the last audit failed.",
			Bound: "3 services: paiement, suivi, analyseur", MaxSeries: 3,
		},
	}
}

// auditing audits the bank on a schedule. It reads the log once, and then only
// what is new in it.
type auditing struct {
	cfg  AuditConfig
	log  *slog.Logger
	runs metric.Int64Counter

	// These are for the goroutine of Run alone.
	going  *audit.Auditor // nil: the next run begins with the log's start
	end    func() error   // of its connection
	opened time.Time
	cut    []audit.Cut // where the log began at its first run
	said   string      // what was logged last

	mu      sync.Mutex // guards the rest
	pause   time.Duration
	success time.Time
	last    *audit.Report // nil where the last run failed
	until   time.Time     // from then on the report is too old to be shown
}

// startAudit audits the bank, where there is one and somebody wants it.
func startAudit(b *service.Base, cfg Config) error {
	if !hasBank(cfg.Around) {
		return nil
	}
	a, err := newAuditing(cfg.Audit, b.Log, b.Telemetry.Instruments())
	if err != nil {
		return err
	}
	if a.pause > 0 {
		b.Stack.Go("audit", a.Run)
	}
	return nil
}

func newAuditing(cfg AuditConfig, log *slog.Logger, instruments *telemetry.Instruments) (*auditing, error) {
	a := &auditing{cfg: cfg, log: log}
	if cfg.Open != nil {
		a.pause = cfg.Interval
	}
	var err error
	if a.runs, err = instruments.Int64Counter(auditRuns); err != nil {
		return nil, err
	}
	for _, outcome := range auditOutcomes() {
		a.count(context.Background(), outcome, 0)
	}
	_, err = instruments.Observe([]string{
		auditPause, auditSuccess, auditOrders, auditUnaccounted, auditEuros, auditDifferences, auditLookedAt,
	}, a.observe)
	return a, err
}

func (a *auditing) count(ctx context.Context, outcome string, n int64) {
	a.runs.Add(ctx, n, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// observe shows what the last audit said. That there is nothing wrong is shown of
// one that could tell, alone.
func (a *auditing) observe(_ context.Context, o telemetry.Observation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	o.Gauge(auditPause, a.pause.Seconds())
	if !a.success.IsZero() {
		o.Gauge(auditSuccess, float64(a.success.UnixMilli())/1000)
	}
	r := a.last
	if r == nil || time.Now().After(a.until) {
		return nil
	}
	gauge := func(name string, value float64, options ...metric.ObserveOption) {
		if value != 0 || tells(*r) {
			o.Gauge(name, value, options...)
		}
	}
	euros, err := strconv.ParseFloat(r.DifferenceAmount.String(), 64)
	if err != nil {
		return err
	}
	gauge(auditOrders, float64(r.Created.Count))
	gauge(auditUnaccounted, float64(r.Unaccounted.Count))
	gauge(auditEuros, euros)
	for _, kind := range audit.Kinds() {
		gauge(auditDifferences, float64(r.Kinds[kind]), metric.WithAttributes(attribute.String("kind", string(kind))))
	}
	for _, s := range r.Services {
		o.Gauge(auditLookedAt, map[bool]float64{true: 1}[s.LookedAt], metric.WithAttributes(attribute.String("part", s.Name)))
	}
	return nil
}

// tells says whether an audit could tell what it was asked.
func tells(r audit.Report) bool { return len(r.CannotTellWhy) == 0 }

// Run audits until ctx ends.
func (a *auditing) Run(ctx context.Context) error {
	defer a.drop(ctx)
	for {
		began := time.Now()
		report, err := a.audit(ctx)
		if ctx.Err() != nil {
			return nil
		}
		took := time.Since(began)
		pause := max(a.cfg.Interval, auditShare*took)
		if err != nil {
			pause = max(min(a.cfg.Interval, auditRetry), took)
		}
		a.conclude(ctx, report, err, pause)
		if lifecycle.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// audit audits once, from where the last one was as far as that can be.
func (a *auditing) audit(ctx context.Context) (audit.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	if a.going != nil && a.outdated() {
		a.drop(ctx)
	}
	report, err := a.goOn(ctx)
	if errors.Is(err, audit.ErrLogChanged) {
		a.log.InfoContext(ctx, "the audit reads the log from its start", "reason", err)
		report, err = a.goOn(ctx)
	}
	return report, err
}

// goOn runs the auditor that there is, or a new one. One that failed is dropped.
func (a *auditing) goOn(ctx context.Context) (report audit.Report, err error) {
	first := a.going == nil
	if first {
		cfg, end, err := a.cfg.Open(ctx)
		if err != nil {
			return report, err
		}
		cfg.Patience, cfg.Limit, cfg.Dir, cfg.Memory = auditPatience, 1, a.cfg.TempDir, auditMemory
		a.opened = time.Now()
		if a.cfg.Window > 0 {
			cfg.Since = a.opened.Add(-a.cfg.Window)
		}
		a.going, a.end = audit.New(cfg), end
	}
	if report, err = a.going.Run(ctx); err != nil {
		a.drop(ctx)
		return report, err
	}
	if first {
		a.cut = report.Cut
	}
	return report, nil
}

// outdated says whether the auditor knows much that is no longer asked for, or
// that is no longer in the log.
func (a *auditing) outdated() bool {
	age := time.Since(a.opened)
	if a.cfg.Window > 0 && age > a.cfg.Window {
		return true
	}
	a.mu.Lock() // there is a report: an auditor that failed was dropped
	defer a.mu.Unlock()
	return age > auditAnew && !slices.EqualFunc(a.cut, a.last.Cut, func(x, y audit.Cut) bool {
		return x.Topic == y.Topic && x.Partition == y.Partition && x.Offset == y.Offset
	})
}

// drop gives up what was read of the log.
func (a *auditing) drop(ctx context.Context) {
	if a.going == nil {
		return
	}
	if err := errors.Join(a.going.Close(), a.end()); err != nil {
		a.log.WarnContext(ctx, "what the audit kept could not be closed", "error", err)
	}
	a.going, a.end = nil, nil
}

// conclude shows and tells what came of an audit.
func (a *auditing) conclude(ctx context.Context, report audit.Report, err error, pause time.Duration) {
	now := time.Now()
	a.mu.Lock()
	a.pause, a.last, a.until = pause, &report, now.Add(3*pause)
	if err != nil {
		a.last = nil
	} else if tells(report) {
		a.success = now
	}
	a.mu.Unlock()
	outcome := outcomeAccounted
	switch {
	case err != nil:
		outcome = outcomeFailed
	case report.DifferenceCount > 0:
		outcome = outcomeDiffers
	case !tells(report):
		outcome = outcomeCannotTell
	}
	a.count(ctx, outcome, 1)
	a.tell(ctx, outcome, report, err)
}

// tell logs what came of an audit, where that is not what came of the last one.
func (a *auditing) tell(ctx context.Context, outcome string, report audit.Report, err error) {
	before, now := a.said, outcome+" "+strconv.FormatInt(report.DifferenceCount, 10)
	if a.said = now; now == before {
		return
	}
	switch outcome {
	case outcomeFailed:
		a.log.WarnContext(ctx, "the audit failed: nobody can tell whether every order is accounted for", "error", err)
	case outcomeDiffers:
		first := report.Differences[0]
		a.log.WarnContext(ctx, "not every order is accounted for once", "differences", report.DifferenceCount,
			"unaccounted", report.Unaccounted.Count, "euros", report.DifferenceAmount.String(), "first", first.Kind.Words(), "order_id", first.OrderID)
	case outcomeCannotTell:
		a.log.WarnContext(ctx, "the audit cannot tell whether every order is accounted for", "reason", strings.Join(report.CannotTellWhy, "; "))
	default:
		if before != "" {
			a.log.InfoContext(ctx, "every order is accounted for once", "orders", report.Created.Count)
		}
	}
}
