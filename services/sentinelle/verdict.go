package sentinelle

import (
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
)

const (
	// staleFigures is how old a service's figures may be: three scrapes.
	staleFigures = 15 * time.Second
	// staleRules is how long ago the rules may have been looked at: four rounds.
	staleRules = time.Minute
	// late is how long an order, or a record, may wait. Alerts are more patient: they
	// call somebody.
	late = 20 * time.Second
)

// State is the bank's, in a word.
type State string

// The states. Well needs proof: what is not known is unknown.
const (
	Well    State = "well"
	Trouble State = "trouble"
	Unknown State = "unknown"
)

// Verdict is the bank's state with its reasons.
type Verdict struct {
	State    State       `json:"state"`
	Headline i18n.Text   `json:"headline"`
	Reasons  []i18n.Text `json:"reasons"`
}

// judge says how the bank is. Trouble is what somebody saw: a service that is not
// ready, an alert that fires, an order or a record that waits. Well is what everybody confirmed: every service is
// ready, Prometheus has fresh figures of each, its rules were looked at lately and
// none fires. Everything else is unknown, with what is missing.
func judge(s *Snapshot) Verdict {
	trouble := slices.Concat(firingNow(s), notReady(s), waiting(s.Figures))
	unknown := missing(s)
	switch {
	case len(trouble) > 0:
		return Verdict{Trouble, i18n.Textf("Something is wrong"), append(trouble, unknown...)}
	case len(unknown) > 0:
		return Verdict{Unknown, i18n.Textf("Not known"), unknown}
	default:
		return Verdict{Well, i18n.Textf("All is well"), wellness(s)}
	}
}

func firingNow(s *Snapshot) (reasons []i18n.Text) {
	for _, a := range s.Alarms.Alerts {
		if a.Firing() {
			reasons = append(reasons, i18n.Textf("%s fires: %s.", a.Name, a.Summary))
		}
	}
	return reasons
}

func notReady(s *Snapshot) (reasons []i18n.Text) {
	for _, service := range s.Services {
		switch service.State {
		case serviceNotReady:
			reasons = append(reasons, i18n.Textf("%s is not ready: %s", service.Name, service.Reason))
		case serviceAway:
			reasons = append(reasons, i18n.Textf("%s does not answer: %s", service.Name, service.Reason))
		}
	}
	return reasons
}

// waiting says what has waited for too long, long before an alert does.
func waiting(f figures) (reasons []i18n.Text) {
	if oldest := f.most(figWaiting); oldest.Value > late.Seconds() {
		reasons = append(reasons, i18n.Textf("An order has waited %s for its decision.", oldest.seconds()))
	}
	var behind []i18n.Text
	for at, age := range f[figLagSeconds] {
		if age > late.Seconds() {
			behind = append(behind, i18n.Textf("%s is %s behind on %s.", at.service, number{age, true}.seconds(), at.topic))
		}
	}
	slices.SortFunc(behind, func(a, b i18n.Text) int { return strings.Compare(a.String(), b.String()) })
	return append(reasons, behind...)
}

// missing is what is not known and would have to be.
func missing(s *Snapshot) (reasons []i18n.Text) {
	for _, part := range parts() {
		if why := s.Why(part); !why.IsZero() && part != partOrders && part != partObjectives && !slices.ContainsFunc(reasons, why.Equal) {
			reasons = append(reasons, why)
		}
	}
	if s.At.IsZero() {
		return append(reasons, i18n.Textf("Nothing has been looked at yet."))
	}
	if len(s.Services) == 0 {
		reasons = append(reasons, i18n.Textf("No service is known to look at."))
	}
	if unseen := s.Figures.most(figUnseen); unseen.Value > late.Seconds() {
		reasons = append(reasons, i18n.Textf("Nobody has seen for %s what becomes of orders.", unseen.seconds()))
	}
	if s.knows(partFigures) {
		for _, service := range s.Services {
			if why := unseen(s.Figures, service); !why.IsZero() {
				reasons = append(reasons, why)
			}
		}
	}
	if s.knows(partAlerts) {
		if why := unguarded(s); !why.IsZero() {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// unseen says what Prometheus does not know of a service, nothing where it knows all.
func unseen(f figures, service Service) i18n.Text {
	at := place{service: service.Name}
	up, known := f.of(figUp, at)
	if !known {
		return i18n.Textf("Prometheus has no figures of %s yet.", service.Name)
	}
	if up == 0 {
		return i18n.Textf("Prometheus cannot read %s's metrics.", service.Name)
	}
	if age, known := f.of(figAge, at); !known || age > staleFigures.Seconds() {
		return i18n.Textf("Prometheus' figures of %s are %.0f s old.", service.Name, age)
	}
	if !service.group {
		return i18n.Text{}
	}
	for at := range f[figLag] {
		if at.service == service.Name {
			return i18n.Text{}
		}
	}
	return i18n.Textf("Nobody knows how far %s is: it shows no lag.", service.Name)
}

// unguarded says why no alert would fire, nothing where one would.
func unguarded(s *Snapshot) i18n.Text {
	if len(s.Alarms.Rules) == 0 {
		return i18n.Textf("Prometheus has no rule that could fire.")
	}
	unlooked := 0
	for _, rule := range s.Alarms.Rules {
		if rule.State == "unknown" || s.At.Sub(rule.Looked) > staleRules {
			unlooked++
		}
	}
	if unlooked == 0 {
		return i18n.Text{}
	}
	return i18n.Textf("%d of %d alert rules have not been looked at within the last minute.", unlooked, len(s.Alarms.Rules))
}

func wellness(s *Snapshot) []i18n.Text {
	return []i18n.Text{
		i18n.Textf("All %d services are ready, and Prometheus reads each of them.", len(s.Services)),
		i18n.Textf("None of %d alert rules fires.", len(s.Alarms.Rules)),
	}
}
