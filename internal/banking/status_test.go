package banking

import "testing"

// A status gives way to a later one only, and a decision to nothing.
func TestWhichStatusReplacesWhich(t *testing.T) {
	stages := [][]OrderStatus{{"", "NO_STATUS"}, {OrderStatusCreated}, {OrderStatusFailed}, {OrderStatusAuthorized, OrderStatusRejected}}
	for i, earlier := range stages {
		for j, later := range stages {
			for _, old := range earlier {
				for _, s := range later {
					if got := s.Replaces(old); got != (j > i) {
						t.Errorf("%q.Replaces(%q) = %v", s, old, got)
					}
				}
			}
		}
		for _, s := range earlier {
			if got := s.Decided(); got != (i == len(stages)-1) {
				t.Errorf("%q.Decided() = %v", s, got)
			}
		}
	}
}

func TestTheStatusAfterAnEvent(t *testing.T) {
	for eventType, want := range map[string]OrderStatus{
		TypeOrderCreated: "ORDER_CREATED", TypePaymentFailed: "PAYMENT_FAILED", TypePaymentAuthorized: "PAYMENT_AUTHORIZED",
		TypePaymentRejected: "PAYMENT_REJECTED", "": "", "OrderCancelled": "",
	} {
		if got := StatusAfter(eventType); got != want {
			t.Errorf("StatusAfter(%q) = %q, want %q", eventType, got, want)
		}
	}
}
