package suivi

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

func permutations(facts []fact) [][]fact {
	if len(facts) == 0 {
		return [][]fact{nil}
	}
	var all [][]fact
	for i, first := range facts {
		rest := append(append([]fact{}, facts[:i]...), facts[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]fact{first}, p...))
		}
	}
	return all
}

func moments(facts ...fact) (all []moment) {
	for _, f := range facts {
		all = append(all, moment{EventID: f.EventID, Type: f.Type, At: f.At})
	}
	return all
}

func knownAs(status banking.OrderStatus, updated time.Time, events []moment) view {
	return view{
		OrderID: "order-1", UserID: "user-1", Amount: 1050, Items: []string{"tea", "cake"}, Status: status,
		CreatedAt: at(1), ListedAt: at(1), UpdatedAt: updated, Events: events,
	}
}

// TestEveryOrderOfFactsGivesTheSameView has the facts in the order of their
// times; the view is the one that they give together.
func TestEveryOrderOfFactsGivesTheSameView(t *testing.T) {
	const id = "order-1"
	tests := []struct {
		name  string
		facts []fact
		also  func(*view)
	}{
		{"created", []fact{created(id, 1)}, func(v *view) { v.Status = banking.OrderStatusCreated }},
		{"authorised", []fact{created(id, 1), authorized(id, 2)}, func(v *view) {
			v.Status, v.AuthorizationCode, v.ProcessedAt = banking.OrderStatusAuthorized, "AUTH-1", at(2)
		}},
		{"failed", []fact{created(id, 1), failed(id, 2, 1)}, func(v *view) {
			v.Status, v.FailureReason = banking.OrderStatusFailed, "reason-1"
		}},
		{"failed for other reasons", []fact{created(id, 1), failed(id, 2, 1), failed(id, 3, 3), failed(id, 4, 2)}, func(v *view) {
			v.Status, v.FailureReason = banking.OrderStatusFailed, "reason-2"
		}},
		{"authorised by a replay", []fact{created(id, 1), failed(id, 2, 1), authorized(id, 3)}, func(v *view) {
			v.Status, v.AuthorizationCode, v.ProcessedAt = banking.OrderStatusAuthorized, "AUTH-1", at(3)
		}},
		{"rejected by a second replay", []fact{created(id, 1), failed(id, 2, 1), failed(id, 3, 2), rejected(id, 4)}, func(v *view) {
			v.Status, v.RejectionReason, v.ProcessedAt = banking.OrderStatusRejected, "card_expired", at(4)
		}},
		{"all at one time", []fact{created(id, 1), authorized(id, 1), failed(id, 1, 1), failed(id, 1, 2)}, func(v *view) {
			v.Status, v.AuthorizationCode, v.ProcessedAt = banking.OrderStatusAuthorized, "AUTH-1", at(1)
		}},
		{"authorised by a clock that is behind", []fact{authorized(id, 0), created(id, 1)}, func(v *view) {
			v.Status, v.AuthorizationCode, v.ProcessedAt = banking.OrderStatusAuthorized, "AUTH-1", at(0)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := knownAs("", test.facts[len(test.facts)-1].At, moments(test.facts...))
			test.also(&want)
			for _, order := range permutations(test.facts) {
				var v view
				for _, f := range order {
					v = project(v, f)
				}
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("by %v (-want +got):\n%s", moments(order...), diff)
				}
			}
		})
	}
}

// facts draws what may be said of one order: its creation, failed tries and
// at most one decision, at any times.
func facts(t *rapid.T) []fact {
	minute := rapid.IntRange(0, 8)
	all := []fact{created("order-1", minute.Draw(t, "created"))}
	for try := range rapid.IntRange(0, 4).Draw(t, "tries") {
		all = append(all, failed("order-1", minute.Draw(t, "failed"), try))
	}
	switch rapid.IntRange(0, 2).Draw(t, "decision") {
	case 1:
		all = append(all, authorized("order-1", minute.Draw(t, "decided")))
	case 2:
		all = append(all, rejected("order-1", minute.Draw(t, "decided")))
	}
	return all
}

func TestViewsDoNotDependOnOrderAndNeverGoBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := facts(t)
		var plain view
		for _, f := range said {
			plain = project(plain, f)
		}
		again := rapid.SliceOfN(rapid.SampledFrom(said), 0, 10).Draw(t, "repeated")
		var v view
		for _, f := range rapid.Permutation(append(again, said...)).Draw(t, "order") {
			before, repeated := v, seen(v.Events, f.EventID)
			v = project(v, f)
			if before.Status.Replaces(v.Status) {
				t.Fatalf("%s goes back to %s", before.Status, v.Status)
			}
			if before.Status.Decided() && v.Status != before.Status {
				t.Fatalf("%s is decided again as %s", before.Status, v.Status)
			}
			if diff := cmp.Diff(before, v); repeated && diff != "" {
				t.Fatalf("a repeated fact changes the view:\n%s", diff)
			}
		}
		if diff := cmp.Diff(plain, v); diff != "" {
			t.Fatalf("another order of facts gives another view:\n%s", diff)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	v := project(view{}, created("order-1", 0))
	for try := range 3 * banking.MaxOrderEvents {
		v = project(v, failed("order-1", try, try))
	}
	v = project(v, authorized("order-1", 200))
	if len(v.Events) != banking.MaxOrderEvents || v.Status != banking.OrderStatusAuthorized || !v.UpdatedAt.Equal(at(200)) {
		t.Errorf("%d events, status %s, updated %v", len(v.Events), v.Status, v.UpdatedAt)
	}
}

func TestProjectLeavesWhatItWasGiven(t *testing.T) {
	first := project(view{}, created("order-1", 5))
	first.Events = append(make([]moment, 0, 10), first.Events...) // room to be overwritten
	kept := moments(created("order-1", 5))
	project(first, authorized("order-1", 1))
	if diff := cmp.Diff(kept, first.Events[:1]); diff != "" {
		t.Errorf("the events given are changed:\n%s", diff)
	}
}

// What is written when a letter is replayed or purged changes no order: what a
// replay does to an order, the replay's own records say.
func TestResolutionsSayNothingAboutOrders(t *testing.T) {
	tr := &tracker{}
	for _, resolution := range []string{"replayed", "purged"} {
		marker := record.Record{
			Place: record.At(banking.TopicOrdersDLQ, 0, 0), Key: []byte("order-1"), Time: at(9),
			Headers: []record.Header{
				{Key: record.HeaderResolves, Value: []byte("orders.dlq/0/7")},
				{Key: record.HeaderResolution, Value: []byte(resolution)},
				{Key: record.HeaderResolvedAt, Value: []byte("2026-03-04T05:03:00Z")},
			},
		}
		for name, known := range map[string]histories{"unknown": {}, "failed": {"order-1": moments(failed("order-1", 3, 7))}} {
			got, out, err := tr.Handle(t.Context(), known, marker)
			if got != nil || out != nil || err != nil {
				t.Errorf("%s, of an order that is %s: %v, %v, %v", resolution, name, got, out, err)
			}
		}
	}
}

// A record's own headers come after those of its dead letter and are not
// believed: it cannot say why, where or by which group it was set aside.
func TestARecordDoesNotSpeakForItsDeadLetter(t *testing.T) {
	letter := deadLetter(t, banking.GroupPaiement)
	honest, _, _ := (&tracker{}).Handle(t.Context(), histories{}, letter)
	for _, name := range []string{
		record.HeaderConsumerGroup, record.HeaderErrorReason, record.HeaderOriginalTopic, record.HeaderOriginalOffset, record.HeaderFailedAt,
	} {
		letter.Headers = append(letter.Headers, record.Header{Key: name, Value: []byte("forged")})
	}
	got, _, err := (&tracker{}).Handle(t.Context(), histories{}, letter)
	if diff := cmp.Diff(honest, got); diff != "" || err != nil || got == nil {
		t.Errorf("%v (-honest +forged):\n%s", err, diff)
	}
}
