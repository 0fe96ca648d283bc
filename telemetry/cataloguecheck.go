package telemetry

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Validate reports every declaration that Prometheus or this package could not honour.
func (c Catalogue) Validate() error {
	var errs []error
	seen := make(map[string]bool, len(c))
	for _, m := range c {
		if seen[m.Name] {
			errs = append(errs, fmt.Errorf("metric %s is declared twice", m.Name))
		}
		seen[m.Name] = true
		if err := m.validate(); err != nil {
			errs = append(errs, fmt.Errorf("metric %q: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (m Metric) validate() error {
	identifier := regexp.MustCompile(`^[a-z][a-zA-Z0-9]*(_[a-zA-Z0-9]+)*$`)
	var errs []error
	if !identifier.MatchString(m.Name) {
		errs = append(errs, errors.New("name is not in snake case"))
	}
	if m.Help == "" || strings.ContainsAny(m.Help, "\n\r") {
		errs = append(errs, errors.New("help must be one line"))
	}
	for i, label := range m.Labels {
		if !identifier.MatchString(label) || label == ServiceLabel || label == "le" || slices.Contains(m.Labels[:i], label) {
			errs = append(errs, fmt.Errorf("label %q is malformed, reserved or repeated", label))
		}
	}
	if len(m.Labels) > 0 && m.Bound == "" {
		errs = append(errs, errors.New("has labels but does not say what bounds their values"))
	}
	if m.MaxSeries < 0 || m.MaxSeries > MaxLabelSets {
		errs = append(errs, fmt.Errorf("at most %d series are stated; want 0 to %d", m.MaxSeries, MaxLabelSets))
	}
	for _, label := range m.Conditional {
		if !slices.Contains(m.Labels, label) {
			errs = append(errs, fmt.Errorf("conditional label %q is none of its labels", label))
		}
	}
	if wanted := suffix(m.Unit); wanted != "" && !strings.HasSuffix(strings.TrimSuffix(m.Name, "_total"), wanted) {
		errs = append(errs, fmt.Errorf("unit %q needs a name that ends in %s", m.Unit, wanted))
	}
	return errors.Join(append(errs, m.validateKind())...)
}

func (m Metric) validateKind() error {
	switch m.Kind {
	case Counter, Gauge:
		if len(m.Buckets) > 0 {
			return errors.New("only histograms have buckets")
		}
		if total := strings.HasSuffix(m.Name, "_total"); total != (m.Kind == Counter) {
			return errors.New("names of counters, and of nothing else, end in _total")
		}
	case Histogram:
		if len(m.Buckets) == 0 {
			return errors.New("histogram without buckets")
		}
		for i := 1; i < len(m.Buckets); i++ {
			if m.Buckets[i] <= m.Buckets[i-1] {
				return errors.New("buckets must ascend")
			}
		}
	default:
		return fmt.Errorf("unknown kind %d", int(m.Kind))
	}
	return nil
}

// suffix returns the ending that the Prometheus exporter derives from a unit it knows.
func suffix(unit string) string {
	switch unit {
	case "s":
		return "_seconds"
	case "By":
		return "_bytes"
	default:
		return ""
	}
}
