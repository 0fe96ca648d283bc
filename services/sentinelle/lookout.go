package sentinelle

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	// refreshInterval is how often the bank is looked at while somebody looks at
	// the page.
	refreshInterval = time.Second
	// refreshTimeout bounds one look.
	refreshTimeout = 2 * time.Second
	// versionInterval is how often a service is asked for its version.
	versionInterval = 15 * time.Second
	// latestOrders is how many orders the page shows.
	latestOrders = 8
)

// Names of sentinelle's metrics.
const (
	looksTotal  = "sentinelle_looks_total"
	pageViewers = "sentinelle_page_viewers"
	demoActive  = "demo_active"
)

// Catalogue returns the metrics that sentinelle adds to the common ones.
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{
		{
			Name: looksTotal, Kind: telemetry.Counter, Labels: []string{"part", "outcome"},
			Help:  "How often the page's parts were asked for, once for all who look, by what came of it.",
			Bound: "5 parts (services, figures, alerts, orders, objectives), each ok or failed", MaxSeries: 10,
		},
		{
			Name: pageViewers, Kind: telemetry.Gauge,
			Help: "Open pages that are kept up to date.",
		},
		{
			Name: demoActive, Kind: telemetry.Gauge,
			Help: "1 where the orders are a demonstration's, else 0.",
		},
	}
}

// lookout looks at the bank while somebody looks at the page: once a second for
// all of them, and not at all for none.
type lookout struct {
	around  service.Surroundings
	peers   *peers
	from    prometheus // nil: there is none
	log     *slog.Logger
	looks   metric.Int64Counter
	now     func() time.Time
	started map[Part]time.Time // for the goroutine of Run alone: when each part was asked last
	asked   chan struct{}      // somebody wants a snapshot

	versions map[string]version // likewise Run's

	mu      sync.Mutex
	latest  *Snapshot
	changed chan struct{} // closed with the next snapshot
	viewers int
}

type version struct {
	text string
	at   time.Time
}

func newLookout(around service.Surroundings, p *peers, from prometheus, log *slog.Logger, instruments *telemetry.Instruments) (*lookout, error) {
	l := &lookout{
		around: around, peers: p, from: from, log: log, now: time.Now, started: map[Part]time.Time{}, versions: map[string]version{},
		asked: make(chan struct{}, 1), latest: &Snapshot{}, changed: make(chan struct{}),
	}
	var err error
	if l.looks, err = instruments.Int64Counter(looksTotal); err != nil {
		return nil, err
	}
	for _, part := range parts() {
		l.looks.Add(context.Background(), 0, outcome(part, nil))
		l.looks.Add(context.Background(), 0, outcome(part, errAway))
	}
	if _, err = instruments.Int64ObservableGauge(demoActive, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(map[bool]int64{true: 1}[around.Demo])
		return nil
	}); err != nil {
		return nil, err
	}
	_, err = instruments.Int64ObservableGauge(pageViewers, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(int64(l.count(0)))
		return nil
	})
	return l, err
}

func outcome(part Part, err error) metric.MeasurementOption {
	word := "ok"
	if err != nil {
		word = "failed"
	}
	return metric.WithAttributes(attribute.String("part", string(part)), attribute.String("outcome", word))
}

// Now returns a snapshot that is a second old at most, or the latest when ctx ends
// before there is one.
func (l *lookout) Now(ctx context.Context) *Snapshot {
	latest, changed := l.current()
	if l.now().Sub(latest.At) < refreshInterval {
		return latest
	}
	l.wake()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	latest, _ = l.current()
	return latest
}

// Watch calls show with the snapshot that there is and then with each new one, until
// ctx ends or show fails. The bank is looked at meanwhile.
func (l *lookout) Watch(ctx context.Context, show func(*Snapshot) error) error {
	l.count(1)
	defer l.count(-1)
	l.wake()
	for {
		latest, changed := l.current()
		if !latest.At.IsZero() {
			if err := show(latest); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *lookout) current() (*Snapshot, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest, l.changed
}

func (l *lookout) count(change int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.viewers += change
	return l.viewers
}

func (l *lookout) wake() {
	select {
	case l.asked <- struct{}{}:
	default: // it has been asked already
	}
}

// Run looks as often as somebody wants it, until ctx ends.
func (l *lookout) Run(ctx context.Context) error {
	timer := time.NewTimer(refreshInterval)
	defer timer.Stop()
	for {
		var again <-chan time.Time
		if l.count(0) > 0 {
			timer.Reset(max(0, refreshInterval-l.now().Sub(l.at())))
			again = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-l.asked:
			if l.now().Sub(l.at()) < refreshInterval {
				continue // the latest will do
			}
		}
		l.look(ctx)
	}
}

func (l *lookout) at() time.Time {
	latest, _ := l.current()
	return latest.At
}

// finding puts what a part has found into a snapshot.
type finding func(*Snapshot)

// look asks for the parts that are due, side by side, and publishes a snapshot.
func (l *lookout) look(parent context.Context) {
	ctx, cancel := context.WithTimeout(unsampled(parent), refreshTimeout)
	defer cancel()
	before, _ := l.current()
	next := *before
	next.At, next.Errors = l.now(), maps.Clone(before.Errors)
	if next.Errors == nil {
		next.Errors = map[Part]i18n.Text{}
	}
	asks := map[Part]struct {
		every time.Duration
		ask   func(context.Context) (finding, error)
	}{
		partServices: {refreshInterval, l.askServices},
		partOrders:   {refreshInterval, l.askOrders},
		partFigures:  {2 * refreshInterval, l.askFigures}, // scrapes are further apart
		partAlerts:   {3 * refreshInterval, l.askAlarms},

		partObjectives: {objectiveInterval, l.askObjectives},
	}
	found := map[Part]finding{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for part, a := range asks {
		if !l.has(part) {
			continue
		}
		if next.At.Sub(l.started[part]) < a.every-refreshInterval/2 {
			continue
		}
		l.started[part] = next.At
		asking.Go(func() {
			f, err := a.ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			if parent.Err() == nil {
				found[part] = l.settle(parent, before, part, f, err)
			}
		})
	}
	asking.Wait()
	if parent.Err() != nil {
		return
	}
	for _, f := range found {
		f(&next)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = &next
	close(l.changed)
	l.changed = make(chan struct{})
}

// has says whether there is something to ask for a part: of a cluster without a
// bank nobody is asked for services and orders, and without a Prometheus nobody for
// figures.
func (l *lookout) has(part Part) bool {
	switch part {
	case partFigures, partAlerts:
		return hasAlerts(l.around)
	default:
		return hasBank(l.around)
	}
}

// settle counts what came of asking for a part, and tells when that changes.
func (l *lookout) settle(ctx context.Context, before *Snapshot, part Part, found finding, err error) finding {
	l.looks.Add(ctx, 1, outcome(part, err))
	_, failed := before.Errors[part]
	if err != nil {
		if !failed && !errors.Is(err, errNoPrometheus) {
			l.log.WarnContext(ctx, "a part of the page cannot be shown", "part", part, "error", err)
		}
		return func(s *Snapshot) { s.forget(part); s.Errors[part] = i18n.ErrorText(err) }
	}
	if failed {
		l.log.InfoContext(ctx, "a part of the page can be shown again", "part", part)
	}
	return func(s *Snapshot) { delete(s.Errors, part); found(s) }
}

// forget drops what is no longer known of a part.
func (s *Snapshot) forget(part Part) {
	switch part {
	case partFigures:
		s.Figures = nil
	case partAlerts:
		s.Alarms = alarms{}
	case partObjectives:
		s.Objectives = nil
	case partOrders:
		s.Orders, s.Total = nil, 0
	case partServices: // each says for itself that it is away
	}
}

var errNoPrometheus = i18n.Errorf("There is no Prometheus to ask.")

func (l *lookout) askFigures(ctx context.Context) (finding, error) {
	if l.from == nil {
		return nil, errNoPrometheus
	}
	all, err := askFigures(ctx, l.from, l.now())
	return func(s *Snapshot) { s.Figures = all }, err
}

func (l *lookout) askAlarms(ctx context.Context) (finding, error) {
	if l.from == nil {
		return nil, errNoPrometheus
	}
	all, err := askAlarms(ctx, l.from)
	return func(s *Snapshot) { s.Alarms = all }, err
}

func (l *lookout) askOrders(ctx context.Context) (finding, error) {
	list, err := l.peers.orders(ctx, l.around, orderQuery{Limit: latestOrders})
	return func(s *Snapshot) { s.Orders, s.Total = list.Orders, list.TotalCount }, err
}

// askServices asks each service how it is. It always has an answer: a service that
// gives none is away.
func (l *lookout) askServices(ctx context.Context) (finding, error) {
	all := make([]Service, len(l.around.Peers))
	var asking sync.WaitGroup
	for i, p := range l.around.Peers {
		all[i] = Service{Name: p.Name, Does: p.Does, URL: p.URL, Version: l.versions[p.Name].text, group: len(p.Reads) > 0}
		asking.Go(func() { l.askService(ctx, &all[i]) })
	}
	asking.Wait()
	for _, s := range all {
		switch {
		case s.State == serviceAway:
			delete(l.versions, s.Name) // another may come up
		case s.asked:
			l.versions[s.Name] = version{s.Version, l.now()}
		}
	}
	return func(s *Snapshot) { s.Services = all }, nil
}

func (l *lookout) askService(ctx context.Context, s *Service) {
	var ready, root struct{ Version string }
	err := l.peers.get(ctx, s.URL+"/health/ready", &ready)
	_, refused := errors.AsType[*refusal](err)
	switch {
	case refused:
		s.State, s.Reason = serviceNotReady, i18n.ErrorText(err)
	case err != nil:
		s.State, s.Reason = serviceAway, i18n.ErrorText(err)
	default:
		s.State = serviceReady
	}
	if s.State != serviceAway && l.now().Sub(l.versions[s.Name].at) > versionInterval {
		if l.peers.get(ctx, s.URL+"/", &root) == nil {
			s.Version, s.asked = root.Version, true
		}
	}
}

// Part is one of the things that are asked for, each by itself: what one does not
// say, the others may.
type Part string

// The parts.
const (
	partServices Part = "services"
	partFigures  Part = "figures"
	partAlerts   Part = "alerts"
	partOrders   Part = "orders"

	partObjectives Part = "objectives"
)

func parts() []Part {
	return []Part{partServices, partFigures, partAlerts, partOrders, partObjectives}
}

// Snapshot is what was seen of the bank at one moment.
type Snapshot struct {
	At       time.Time
	Services []Service
	Figures  figures
	Alarms   alarms
	// Objectives are what is promised about orders.
	Objectives []Objective
	Orders     []Order
	Total      int // orders that there are
	// Errors says of each part that is not known why it is not.
	Errors map[Part]i18n.Text
}

// knows says whether a part was answered.
func (s *Snapshot) knows(part Part) bool {
	_, failed := s.Errors[part]
	return !failed && !s.At.IsZero()
}

// Why says why a part is not known, nothing where it is.
func (s *Snapshot) Why(part Part) i18n.Text { return s.Errors[part] }

// Service is a service as it was seen.
type Service struct {
	Name    string    `json:"name"`
	Does    string    `json:"does"`
	URL     string    `json:"url"`
	Version string    `json:"version"` // "" where it is not known
	State   string    `json:"state"`   // ready, not ready, or away
	Reason  i18n.Text `json:"reason"`  // why it is not ready
	group   bool      // it reads topics, so that it has a lag
	asked   bool      // for its version
}

// States of a service.
const (
	serviceReady    = "ready"
	serviceNotReady = "not ready"
	serviceAway     = "away"
)

// Order is an order as suivi lists it.
type Order struct {
	OrderID     string        `json:"orderId"`
	UserID      string        `json:"userId"`
	Amount      banking.Money `json:"amount"`
	Status      string        `json:"status"`
	CreatedAt   time.Time     `json:"createdAt"`
	LastUpdated time.Time     `json:"lastUpdated"`
}
