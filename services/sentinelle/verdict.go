package sentinelle

import (
	"fmt"
	"slices"
	"time"
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
	State    State    `json:"state"`
	Headline string   `json:"headline"`
	Reasons  []string `json:"reasons"`
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
		return Verdict{Trouble, "Something is wrong", append(trouble, unknown...)}
	case len(unknown) > 0:
		return Verdict{Unknown, "Not known", unknown}
	default:
		return Verdict{Well, "All is well", wellness(s)}
	}
}

func firingNow(s *Snapshot) (reasons []string) {
	for _, a := range s.Alarms.Alerts {
		if a.Firing() {
			reasons = append(reasons, fmt.Sprintf("%s fires: %s.", a.Name, a.Summary))
		}
	}
	return reasons
}

func notReady(s *Snapshot) (reasons []string) {
	for _, service := range s.Services {
		switch service.State {
		case serviceNotReady:
			reasons = append(reasons, service.Name+" is not ready: "+service.Reason)
		case serviceAway:
			reasons = append(reasons, service.Name+" does not answer: "+service.Reason)
		}
	}
	return reasons
}

// waiting says what has waited for too long, long before an alert does.
func waiting(f figures) (reasons []string) {
	if oldest := f.most(figWaiting); oldest.Value > late.Seconds() {
		reasons = append(reasons, "An order has waited "+oldest.seconds()+" for its decision.")
	}
	var behind []string
	for at, age := range f[figLagSeconds] {
		if age > late.Seconds() {
			behind = append(behind, fmt.Sprintf("%s is %s behind on %s.", at.service, number{age, true}.seconds(), at.topic))
		}
	}
	slices.Sort(behind)
	return append(reasons, behind...)
}

// missing is what is not known and would have to be.
func missing(s *Snapshot) (reasons []string) {
	for _, part := range parts() {
		if why := s.Why(part); why != "" && part != partOrders && part != partObjectives && !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	if s.At.IsZero() {
		return append(reasons, "Nothing has been looked at yet.")
	}
	if len(s.Services) == 0 {
		reasons = append(reasons, "No service is known to look at.")
	}
	if unseen := s.Figures.most(figUnseen); unseen.Value > late.Seconds() {
		reasons = append(reasons, "Nobody has seen for "+unseen.seconds()+" what becomes of orders.")
	}
	if s.knows(partFigures) {
		for _, service := range s.Services {
			if why := unseen(s.Figures, service); why != "" {
				reasons = append(reasons, why)
			}
		}
	}
	if s.knows(partAlerts) {
		if why := unguarded(s); why != "" {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// unseen says what Prometheus does not know of a service, "" for nothing.
func unseen(f figures, service Service) string {
	at := place{service: service.Name}
	up, known := f.of(figUp, at)
	if !known {
		return "Prometheus has no figures of " + service.Name + " yet."
	}
	if up == 0 {
		return "Prometheus cannot read " + service.Name + "'s metrics."
	}
	if age, known := f.of(figAge, at); !known || age > staleFigures.Seconds() {
		return fmt.Sprintf("Prometheus' figures of %s are %.0f s old.", service.Name, age)
	}
	if !service.group {
		return ""
	}
	for at := range f[figLag] {
		if at.service == service.Name {
			return ""
		}
	}
	return "Nobody knows how far " + service.Name + " is: it shows no lag."
}

// unguarded says why no alert would fire, "" where one would.
func unguarded(s *Snapshot) string {
	if len(s.Alarms.Rules) == 0 {
		return "Prometheus has no rule that could fire."
	}
	unlooked := 0
	for _, rule := range s.Alarms.Rules {
		if rule.State == "unknown" || s.At.Sub(rule.Looked) > staleRules {
			unlooked++
		}
	}
	if unlooked == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d alert rules have not been looked at within the last minute.", unlooked, len(s.Alarms.Rules))
}

func wellness(s *Snapshot) []string {
	return []string{
		fmt.Sprintf("All %d services are ready, and Prometheus reads each of them.", len(s.Services)),
		fmt.Sprintf("None of %d alert rules fires.", len(s.Alarms.Rules)),
	}
}
