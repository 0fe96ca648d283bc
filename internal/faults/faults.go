// Package faults breaks a running system on purpose, one part at a time, so that people
// can watch the alert that tells them. Every fault is undone: by a stop, when its time
// is up, and by a restart, since none is stored anywhere. It is unlike package fault,
// which ends the process at a named step and is for tests alone.
//
//   - faults.go has the switches: what can be broken, and what is in force.
//   - gate.go stands before a listener and is away, frozen or slow.
//   - kafka.go is what goes wrong with Kafka and by strangers in its topics.
//   - storage.go locks a service's storage, and makes it slow.
package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// How long a fault is in force.
const (
	DefaultLength = 2 * time.Minute
	MinLength     = time.Second
	MaxLength     = time.Hour
)

var (
	// ErrUnknown: there is no fault of that name.
	ErrUnknown = errors.New("no such fault")
	// ErrInForce: it is in force already.
	ErrInForce = errors.New("the fault is in force already")
	// ErrLength: a fault cannot be in force for so long, or so short.
	ErrLength = fmt.Errorf("want from %s to %s", MinLength, MaxLength)
	// ErrClosed: the system is being stopped.
	ErrClosed = errors.New("the system is stopping")
)

// Fault is one thing that can be broken on purpose.
type Fault struct {
	// Name is what people type; Does says in a sentence what happens.
	Name, Does string
	// Alert has to fire while the fault is in force, within a time: of the shipped
	// rules, and with orders coming in. "" where nothing has to.
	Alert  string
	Within time.Duration
	// Follows are the pages that may come beside it: what customers notice of the same
	// fault, or what follows from it elsewhere.
	Follows []string
	// Leaves says what is left when it has ended, and what ends that; "" for nothing.
	Leaves string
	// Run breaks it, calls inForce, and returns once it is fixed again, which begins
	// when ctx ends. An error before inForce says why it cannot be broken.
	Run func(ctx context.Context, inForce func()) error
}

// Status is a fault as people and programs see it.
type Status struct {
	Name    string    `json:"name"`
	Does    string    `json:"does"`
	Alert   string    `json:"alert"` // "" where none has to fire
	Within  float64   `json:"withinSeconds"`
	Follows []string  `json:"follows,omitempty"` // further pages that come by right
	Leaves  string    `json:"leaves,omitempty"`
	InForce bool      `json:"inForce"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
}

// Switches start and stop faults. Their methods are safe for concurrent use.
type Switches struct {
	faults []Fault
	log    *slog.Logger

	mu     sync.Mutex
	forces map[string]*force // by the fault's name
	closed bool
}

// force is a fault that is in force, or on its way there or back.
type force struct {
	since, until time.Time
	begun        chan struct{} // closed once it is in force
	ended        chan struct{} // closed once it is fixed
	end          context.CancelFunc
	err          error // once ended
}

// New makes the switches of some faults. [Switches.Close] has to follow.
func New(log *slog.Logger, faults ...Fault) *Switches {
	return &Switches{faults: faults, log: log, forces: map[string]*force{}}
}

// List returns every fault, in the order given.
func (s *Switches) List() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, len(s.faults))
	for i, f := range s.faults {
		all[i] = s.status(f)
	}
	return all
}

// InForce returns the faults that are in force.
func (s *Switches) InForce() []Status {
	return slices.DeleteFunc(s.List(), func(f Status) bool { return !f.InForce })
}

func (s *Switches) status(f Fault) Status {
	status := Status{Name: f.Name, Does: f.Does, Alert: f.Alert, Within: f.Within.Seconds(), Follows: f.Follows, Leaves: f.Leaves}
	if force := s.forces[f.Name]; force != nil {
		status.InForce, status.Since, status.Until = true, force.since, force.until
	}
	return status
}

// Start breaks something for a time, 0 for [DefaultLength], and returns once it is
// broken, or ctx ends. The error is one of this package's, or says why it could not.
func (s *Switches) Start(ctx context.Context, name string, length time.Duration) (Status, error) {
	if length == 0 {
		length = DefaultLength
	}
	if length < MinLength || length > MaxLength {
		return Status{}, fmt.Errorf("%s for %s: %w", name, length, ErrLength)
	}
	i := slices.IndexFunc(s.faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Status{}, fmt.Errorf("%.64q: %w", name, ErrUnknown)
	}
	f := s.faults[i]
	force, err := s.begin(f, length)
	if err != nil {
		return Status{}, fmt.Errorf("%s: %w", name, err)
	}
	select {
	case <-force.begun:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.status(f), nil
	case <-force.ended:
		return Status{}, fmt.Errorf("start %s: %w", name, force.err)
	case <-ctx.Done():
		force.end()
		return Status{}, fmt.Errorf("start %s: %w", name, ctx.Err())
	}
}

func (s *Switches) begin(f Fault, length time.Duration) (*force, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.forces[f.Name] != nil:
		return nil, ErrInForce
	}
	now := time.Now().UTC()
	running, end := context.WithTimeout(context.Background(), length)
	force := &force{since: now, until: now.Add(length), begun: make(chan struct{}), ended: make(chan struct{}), end: end}
	s.forces[f.Name] = force
	go s.run(running, f, force)
	return force, nil
}

// run is a fault's whole life.
func (s *Switches) run(ctx context.Context, f Fault, force *force) {
	defer force.end()
	var once sync.Once
	err := f.Run(ctx, func() {
		once.Do(func() {
			s.log.WarnContext(ctx, "fault in force: something is broken on purpose", "fault", f.Name, "does", f.Does, "until", force.until.Format(time.RFC3339))
			close(force.begun)
		})
	})
	select {
	case <-force.begun:
		ended := []any{"fault", f.Name}
		if err != nil {
			ended = append(ended, "error", err)
		}
		s.log.WarnContext(ctx, "fault ended: what was broken on purpose is fixed", ended...)
	default:
		if err == nil {
			err = ctx.Err()
		}
	}
	s.mu.Lock()
	delete(s.forces, f.Name)
	s.mu.Unlock()
	force.err = err
	close(force.ended)
}

// Stop ends a fault, and returns once it is fixed, or ctx ends. It says whether the
// fault was in force.
func (s *Switches) Stop(ctx context.Context, name string) (was bool, err error) {
	if !slices.ContainsFunc(s.faults, func(f Fault) bool { return f.Name == name }) {
		return false, fmt.Errorf("%.64q: %w", name, ErrUnknown)
	}
	s.mu.Lock()
	force := s.forces[name]
	s.mu.Unlock()
	if force == nil {
		return false, nil
	}
	force.end()
	select {
	case <-force.ended:
		return true, force.err
	case <-ctx.Done():
		return true, fmt.Errorf("stop %s: %w", name, ctx.Err())
	}
}

// StopAll ends every fault and returns the names of those that were in force.
func (s *Switches) StopAll(ctx context.Context) (stopped []string, err error) {
	stopped = []string{}
	var errs []error
	for _, f := range s.InForce() {
		was, err := s.Stop(ctx, f.Name)
		errs = append(errs, err)
		if was {
			stopped = append(stopped, f.Name)
		}
	}
	return stopped, errors.Join(errs...)
}

// Close ends every fault, and lets none begin any more.
func (s *Switches) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_, err := s.StopAll(ctx)
	return err
}

// metricInForce is the name of the metric that says which faults are in force.
const metricInForce = "fault_in_force"

// Catalogue returns the metric of the switches.
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: metricInForce, Kind: telemetry.Gauge, Labels: []string{"fault"},
		Help:  "1 while something is broken on purpose, else 0; where there are switches, as in `vigie up`.",
		Bound: "the names that `vigie fault list` shows", MaxSeries: 32,
	}}
}

// Measure has the metric say which faults are in force, until the registration is
// taken back.
func (s *Switches) Measure(instruments *telemetry.Instruments) (metric.Registration, error) {
	return instruments.Int64ObservableGauge(metricInForce, func(_ context.Context, o metric.Int64Observer) error {
		for _, f := range s.List() {
			o.Observe(map[bool]int64{true: 1}[f.InForce], metric.WithAttributes(attribute.String("fault", f.Name)))
		}
		return nil
	})
}
