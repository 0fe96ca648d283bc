package model_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services/suivi"
)

// openViews starts suivi, where it has been stopped or its views are cleared.
func (w *world) openViews() {
	if w.views != nil {
		return
	}
	var err error
	w.views, err = suivi.OpenViews(w.ctx, "sqlite:"+filepath.Join(w.folder, fmt.Sprint("views-", w.viewsMade)))
	w.must(err)
	w.viewsTopics = w.identities()
}

// loseViews has suivi begin anew at the topics' start.
func (w *world) loseViews() {
	w.closeViews()
	w.viewsMade++
}

func (w *world) closeViews() {
	if w.views != nil {
		w.must(w.views.Close())
		w.views = nil
	}
}

// showSome has suivi read its topics, one before the other.
func (w *world) showSome(t *rapid.T) {
	w.tick()
	w.show(rapid.IntRange(0, 11).Draw(t, "first"), rapid.IntRange(1, everything).Draw(t, "records"))
	w.checkViews()
}

// show has suivi read so many records of each partition, beginning with one of them.
func (w *world) show(first, most int) {
	w.openViews()
	spans, err := w.log.Bounds(w.ctx, banking.ReadBy(banking.GroupSuivi)...)
	w.must(err)
	first %= len(spans)
	for _, span := range slices.Concat(spans[first:], spans[:first]) {
		w.showPartition(span, most)
	}
}

func (w *world) showPartition(span kafka.Span, most int) {
	next, known, err := w.views.Store.Position(w.ctx, span.Partition)
	w.must(err)
	if !known {
		next = span.Start
		w.must(w.views.Store.StartAt(w.ctx, span.Partition, next))
	}
	for _, r := range w.log.Records(span.Partition) {
		if r.Offset < next || most == 0 {
			continue
		}
		take(w, w.views.Store, w.views.Handler(), banking.GroupSuivi, next, r) //nolint:errcheck // what suivi sets aside is its own
		w.publishOutbox(w.views.Store, span.Partition)
		next = r.Offset + 1
		most--
	}
}

// checkViews: nobody is shown another's order or payment.
func (w *world) checkViews() {
	if w.views == nil {
		return
	}
	for id, l := range w.orders {
		v, err := w.views.Order(w.ctx, id)
		if storage.IsNotFound(err) || l.event == "" || l.shared {
			continue
		}
		w.must(err)
		if !slices.ContainsFunc(v.Events, func(m suivi.Moment) bool { return m.EventID == l.event }) {
			continue // what there is has come before the order
		}
		for _, m := range v.Events {
			if banking.StatusAfter(m.Type).Decided() && m.EventID != banking.ResultEventID(l.event) {
				w.t.Fatalf("%s is shown with another's payment: %+v", id, v)
			}
		}
		if v.UserID != shop {
			w.t.Fatalf("%s is shown as another's: %+v", id, v)
		}
	}
}

// decideByStranger has somebody else publish a decision of an order: of one that was
// placed, or of the next. It names an event of its own as its cause, or none.
func (w *world) decideByStranger(t *rapid.T) {
	w.tick()
	w.strangers++
	number := rapid.Int64Range(1, w.given+1).Draw(t, "number")
	cause := rapid.SampledFrom([]string{fmt.Sprint("cause-", w.strangers), ""}).Draw(t, "cause")
	m, err := delivery.Encode(banking.PaymentAuthorized{
		EventID: fmt.Sprint("decision-", w.strangers), OrderID: banking.OrderID(number), UserID: "stranger", Amount: 7,
		Status: banking.StatusAuthorized, AuthorizationCode: "STRANGE", ProcessedAt: time.Now(),
	}, cause)
	w.must(err)
	if cause == "" {
		m.Headers = slices.DeleteFunc(m.Headers, func(h record.Header) bool { return h.Key == record.HeaderOriginalEventID })
	}
	w.log.Append(m) // past the books: it is no decision of ours
}
