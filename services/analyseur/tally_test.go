package analyseur

import (
	"maps"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

func TestAverageIsRoundedHalfUp(t *testing.T) {
	tests := []struct {
		authorized, rejected sum
		want                 banking.Money
	}{
		{sum{}, sum{}, 0},
		{sum{1, 1}, sum{}, 1},
		{sum{}, sum{1, 1050}, 1050},
		{sum{1, 1}, sum{1, 2}, 2},                                    // 1.5 cents
		{sum{2, 1}, sum{1, 0}, 0},                                    // a third
		{sum{2, 2}, sum{1, 0}, 1},                                    // two thirds
		{sum{3, 100}, sum{}, 33},                                     // 33.33
		{sum{4, 101}, sum{4, 99}, 25},                                // exact
		{sum{2, 2_499}, sum{}, 1250},                                 // 1249.5
		{sum{10_000_000, 1_000_000_000_000_000}, sum{}, 100_000_000}, // every order at the greatest amount
	}
	for _, test := range tests {
		if got := (statistics{authorized: test.authorized, rejected: test.rejected}).average(); got != test.want {
			t.Errorf("average of %v and %v is %d cents, want %d", test.authorized, test.rejected, got, test.want)
		}
	}
}

func TestAuthorizationRateIsRoundedHalfUp(t *testing.T) {
	tests := []struct{ authorized, rejected, want int64 }{
		{0, 0, 0}, {1, 0, 10_000}, {0, 1, 0}, {1, 1, 5_000}, {1, 2, 3_333}, {2, 1, 6_667}, {4, 1, 8_000},
		{1, 7, 1_250}, {1, 19_999, 1}, {1, 20_000, 0}, {19_999, 1, 10_000}, {1_999, 1, 9_995}, {1_000_000_000_000, 0, 10_000},
	}
	for _, test := range tests {
		s := statistics{authorized: sum{count: test.authorized}, rejected: sum{count: test.rejected}}
		if got := s.authorizationRate(); got != test.want {
			t.Errorf("%d of %d gives %d hundredths of a percent, want %d", test.authorized, test.authorized+test.rejected, got, test.want)
		}
	}
}

func TestTallyAddsByStatusAndMinute(t *testing.T) {
	begin := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := begin.Unix() / 60
	got := newTally()
	got.add(payment(1, banking.StatusAuthorized, 1, begin))
	got.add(payment(2, banking.StatusRejected, 20, begin.Add(time.Minute-time.Nanosecond)))
	got.add(payment(3, banking.StatusAuthorized, 300, begin.Add(time.Minute)))
	got.add(payment(4, banking.StatusAuthorized, 4000, begin.Add(-time.Nanosecond).In(time.FixedZone("", 5400))))
	if want := (map[string]sum{"AUTHORIZED": {3, 4301}, "REJECTED": {1, 20}}); !maps.Equal(got.statuses, want) {
		t.Errorf("by status %v, want %v", got.statuses, want)
	}
	if want := (map[int64]sum{m - 1: {1, 4000}, m: {2, 21}, m + 1: {1, 300}}); !maps.Equal(got.minutes, want) {
		t.Errorf("by minute %v, want %v", got.minutes, want)
	}
}

func TestTheWindowIsSixtyMinutesWithTheOneUnderWay(t *testing.T) {
	hour := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	first := hour.Add(-59*time.Minute).Unix() / 60
	for _, now := range []time.Time{hour, hour.Add(time.Second), hour.Add(time.Minute - time.Nanosecond), hour.In(time.FixedZone("", -3*3600))} {
		if got := windowStart(now); got != first {
			t.Errorf("at %v the window starts %d minutes off", now, got-first)
		}
		if n := minuteOf(now) - windowStart(now) + 1; n != 60 {
			t.Errorf("at %v the window has %d minutes", now, n)
		}
	}
	for now, want := range map[time.Time]int64{hour.Add(time.Minute): first + 1, hour.Add(-time.Nanosecond): first - 1} {
		if got := windowStart(now); got != want {
			t.Errorf("at %v the window starts %d minutes off", now, got-want)
		}
	}
}
