package audit

import (
	"cmp"
	"slices"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Names of the services whose state is looked at.
const (
	paiement  = "paiement"
	suivi     = "suivi"
	analyseur = "analyseur"
)

// topicsOf returns what a service reads.
func topicsOf(service string) []string {
	switch service {
	case paiement:
		return []string{banking.TopicOrdersCreated}
	case suivi:
		return []string{
			banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ,
		}
	default:
		return []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
	}
}

// extents reports how much of the log there is.
func (r *reconciliation) extents() {
	for p, e := range r.log.extents {
		r.report.Records += e.End - e.Start
		if e.Start == 0 {
			continue
		}
		c := Cut{Topic: p.Topic, Partition: p.ID, Offset: e.Start}
		if !e.From.IsZero() {
			from := e.From.UTC()
			c.From = &from
		}
		r.report.Cut = append(r.report.Cut, c)
	}
	slices.SortFunc(r.report.Cut, func(a, b Cut) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// services reports how far each service is, and checks that it is within the
// log.
func (r *reconciliation) services() {
	for _, name := range []string{paiement, suivi, analyseur} {
		s := Service{Name: name, Problem: r.state.NotLookedAt[name]}
		positions, lookedAt := r.positions(name)
		if s.LookedAt = lookedAt; lookedAt {
			s.Unread = r.unreadBy(name, positions)
		}
		if name == paiement && lookedAt {
			s.Outbox = int64(len(r.pendingResults) + len(r.pendingLetters))
		}
		r.report.Services = append(r.report.Services, s)
	}
}

func (r *reconciliation) positions(service string) (Positions, bool) {
	switch {
	case service == paiement && r.state.Paiement != nil:
		return r.state.Paiement.Positions, true
	case service == suivi && r.state.Suivi != nil:
		return r.state.Suivi.Positions, true
	case service == analyseur && r.state.Analyseur != nil:
		return r.state.Analyseur.Positions, true
	}
	return nil, false
}

// unreadBy counts the records that a service has yet to process.
func (r *reconciliation) unreadBy(service string, positions Positions) (n int64) {
	for p, e := range r.log.extents {
		if !slices.Contains(topicsOf(service), p.Topic) {
			continue
		}
		next, begun := positions[p]
		switch {
		case !begun:
			n += e.End - e.Start
		case next < e.Start:
			r.outside(p, "%s has read %s up to offset %d, and the log begins at %d: the records between were deleted unread",
				service, p, next, e.Start)
		case next > e.End:
			r.outside(p, "%s has read %s up to offset %d, and the log ends at %d", service, p, next, e.End)
		default:
			n += e.End - next
		}
	}
	return n
}

func (r *reconciliation) outside(p record.Partition, format string, args ...any) {
	r.differ(OutsideLog, "", format, args...)
	r.differences[len(r.differences)-1].subject = args[0].(string) + " " + p.String()
}
