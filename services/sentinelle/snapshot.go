package sentinelle

import (
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// Part is one of the things that are asked for, each by itself: what one does not
// say, the others may.
type Part string

// The parts.
const (
	partServices Part = "services"
	partFigures  Part = "figures"
	partAlerts   Part = "alerts"
	partOrders   Part = "orders"
)

func parts() []Part { return []Part{partServices, partFigures, partAlerts, partOrders} }

// Snapshot is what was seen of the bank at one moment.
type Snapshot struct {
	At       time.Time
	Services []Service
	Figures  figures
	Alarms   alarms
	Orders   []Order
	Total    int // orders that there are
	// Errors says of each part that is not known why it is not.
	Errors map[Part]string
}

// knows says whether a part was answered.
func (s *Snapshot) knows(part Part) bool {
	_, failed := s.Errors[part]
	return !failed && !s.At.IsZero()
}

// Why says why a part is not known, "" where it is.
func (s *Snapshot) Why(part Part) string { return s.Errors[part] }

// Service is a service as it was seen.
type Service struct {
	Name    string `json:"name"`
	Does    string `json:"does"`
	URL     string `json:"url"`
	Version string `json:"version"` // "" where it is not known
	State   string `json:"state"`   // ready, not ready, or away
	Reason  string `json:"reason"`  // why it is not ready
	group   bool   // it reads topics, so that it has a lag
	asked   bool   // for its version
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
