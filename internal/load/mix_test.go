package load

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
)

func TestParseMix(t *testing.T) {
	m, err := ParseMix(" order=80, status=20.5")
	if err != nil || !reflect.DeepEqual(m, Mix{Order: 80, Status: 20.5}) || m.String() != "order=80,status=20.5" {
		t.Errorf("%v, %v", m, err)
	}
	again, err := ParseMix(DefaultMix().String())
	if err != nil || !reflect.DeepEqual(again, DefaultMix()) {
		t.Errorf("%v, %v", again, err)
	}
	for _, text := range []string{"", "order", "order=", "order=much", "orders=1", "order=-1", "order=0", "order=NaN", "order=1e9", "order=1,,"} {
		if m, err := ParseMix(text); !errors.Is(err, ErrMix) {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
}

// What is sent follows from the seed, in the shares of the mix; a repeat is a keyed
// order again, and a wrong request is none that is taken.
func TestAScriptFollowsFromItsSeed(t *testing.T) {
	const n = 20_000
	draw := func(seed uint64) (requests []request) {
		s := newScript(DefaultMix(), seed, 50, "run")
		for range n {
			requests = append(requests, s.next())
		}
		return requests
	}
	once := draw(1)
	if !reflect.DeepEqual(once, draw(1)) || reflect.DeepEqual(once, draw(2)) {
		t.Error("it does not follow from the seed")
	}
	counts, bodies, users := map[Kind]int{}, map[string]string{}, map[string]bool{}
	for _, r := range once {
		counts[r.Kind]++
		if !r.Kind.Orders() {
			continue
		}
		order, err := banking.ParseOrderRequest(r.Body)
		if err != nil {
			t.Fatalf("%s: %v", r.Body, err)
		}
		users[order.UserID] = true
		if (r.key == "") != (r.Kind == Order) || r.key != r.Header["Idempotency-Key"] {
			t.Fatalf("%s has the key %q", r.Kind, r.key)
		}
		if body, known := bodies[r.key]; r.Kind == Repeat && (!known || body != string(r.Body)) || r.Kind == Keyed && known {
			t.Fatalf("%s with the key %s is %s, before it was %s", r.Kind, r.key, r.Body, body)
		}
		if r.key != "" {
			bodies[r.key] = string(r.Body)
		}
	}
	if len(users) > 50 || len(users) < 20 {
		t.Errorf("%d users", len(users))
	}
	for kind, weight := range DefaultMix() {
		if got := float64(counts[kind]) / n * 100; math.Abs(got-weight) > 2 {
			t.Errorf("%.1f %% are %s, want %v", got, kind, weight)
		}
	}
}
