package crash

import (
	"slices"

	"github.com/vigie-dev/vigie/internal/banking"
)

// views holds suivi and analyseur against the topics.
func (j *judgement) views() {
	var want totals
	for id, o := range j.orders {
		switch o.topic {
		case banking.TopicPaymentsAuthorized:
			want.Authorized++
		case banking.TopicPaymentsRejected:
			want.Rejected++
		}
		if o.topic != "" {
			want.Transactions++
			want.Cents += o.cents
		}
		j.shows(id, o)
	}
	if j.SuiviTotal != int64(len(j.orders)) {
		j.violated("suivi counts %d orders, the log has %d", j.SuiviTotal, len(j.orders))
	}
	if j.Totals != want {
		j.violated("analyseur says %+v, the log %+v", j.Totals, want)
	}
}

// shows holds suivi's view of an order against the topics.
func (j *judgement) shows(id string, o *order) {
	got, ok := j.Suivi[id]
	if !ok {
		j.violated("%s: suivi does not know it", id)
		return
	}
	status, events := "ORDER_CREATED", []string{"OrderCreated"}
	for range o.letters {
		status, events = "PAYMENT_FAILED", append(events, "PaymentFailed")
	}
	switch o.topic {
	case banking.TopicPaymentsAuthorized:
		status, events = "PAYMENT_AUTHORIZED", append(events, "PaymentAuthorized")
	case banking.TopicPaymentsRejected:
		status, events = "PAYMENT_REJECTED", append(events, "PaymentRejected")
	}
	types := slices.Sorted(slices.Values(got.Events))
	slices.Sort(events)
	if got.Status != status || got.Cents != o.cents || !slices.Equal(types, events) {
		j.violated("%s: suivi shows %+v, the topics say %s, %d cents, %v", id, got, status, o.cents, events)
	}
}
