package demo

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
)

// days is a script's beginning, of so many of its days.
func days(seed uint64, n int) []Step {
	script, steps := NewScript(seed), []Step(nil)
	for {
		step := script.Next()
		if step.At >= time.Duration(n)*day {
			return steps
		}
		steps = append(steps, step)
	}
}

func TestAScriptFollowsFromItsSeed(t *testing.T) {
	once := days(1, 1)
	if again := days(1, 1); !reflect.DeepEqual(once, again) {
		t.Errorf("two scripts of one seed differ:\n%s", cmp.Diff(once, again))
	}
	if reflect.DeepEqual(once, days(2, 1)) {
		t.Error("scripts of two seeds are the same")
	}
}

func TestAScriptIsGentleAndVaried(t *testing.T) {
	for seed := range uint64(5) {
		steps := days(seed, 4)
		kinds, users, amounts := map[Kind]int{}, map[string]int{}, []float64{}
		for i, step := range steps {
			kinds[step.Kind]++
			if i > 0 && step.At-steps[i-1].At < shortest {
				t.Fatalf("seed %d: only %v between two steps", seed, step.At-steps[i-1].At)
			}
			if step.Kind != Order && step.Kind != Repeat {
				continue
			}
			order, err := banking.ParseOrderRequest(step.Request.Body)
			if err != nil {
				t.Fatalf("%s: %v", step.Request.Body, err)
			}
			users[order.UserID]++
			amounts = append(amounts, order.Amount.Euros())
		}
		share := func(kind Kind) float64 { return float64(kinds[kind]) / float64(len(steps)) }
		for kind, want := range map[Kind][2]float64{Order: {.7, .88}, Repeat: {.01, .06}, Wrong: {.02, .09}, Look: {.06, .18}, Replay: {.001, .02}} {
			if got := share(kind); got < want[0] || got > want[1] {
				t.Errorf("seed %d: %v are %.3f of all, want %v", seed, kind, got, want)
			}
		}
		if perSecond := float64(len(steps)) / (4 * day).Seconds(); perSecond < .5 || perSecond > busiest {
			t.Errorf("seed %d: %.2f steps a second", seed, perSecond)
		}
		most := 0
		for _, n := range users {
			most = max(most, n)
		}
		if len(users) < customers/3 || most < 5*len(amounts)/len(users) {
			t.Errorf("seed %d: %d users, of whom one has %d of %d orders: all alike", seed, len(users), most, len(amounts))
		}
		small, large := 0, 0
		for _, euros := range amounts {
			if euros < 40 {
				small++
			}
			if euros >= 250 {
				large++
			}
		}
		if small < len(amounts)/3 || large == 0 || large > len(amounts)/10 {
			t.Errorf("seed %d: of %d amounts %d are below 40 euros and %d from 250 on", seed, len(amounts), small, large)
		}
	}
}

// The evening is busier than the night, in every day.
func TestADayHasItsRhythm(t *testing.T) {
	perHour := map[int]int{}
	const n = 20
	for _, step := range days(3, n) {
		hours := int((step.At % day) / (day / 24))
		perHour[(opening+hours)%24]++
	}
	if night, noon, evening := perHour[3], perHour[12], perHour[19]; night*4 > noon || noon >= evening || evening > n*int(day.Seconds()/24*busiest) {
		t.Errorf("at 3, 12 and 19 o'clock %d, %d and %d steps in %d days", night, noon, evening, n)
	}
	for at := time.Duration(0); at < 2*day; at += time.Second {
		if r := Rate(at); r < .1 || r > busiest {
			t.Fatalf("%v after the start %f a second", at, r)
		}
	}
	if a, b := Rate(0), Rate(day); fmt.Sprintf("%.6f", a) != fmt.Sprintf("%.6f", b) {
		t.Errorf("a day later the rate is %f, not %f", b, a)
	}
}
