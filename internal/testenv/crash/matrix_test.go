//go:build unix

package crash

import (
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/fault"
)

// A cycle has every fault once, and the plan follows from the seed.
func TestThePlanCoversEveryFault(t *testing.T) {
	for name, cfg := range map[string]Config{
		"sqlite": {Seed: 7, Broker: Embedded}, "postgres": {Seed: 7, Broker: Kafka, Postgres: true}, "cluster": {Seed: 7, Broker: Cluster},
	} {
		t.Run(name, func(t *testing.T) { coversEveryFault(t, cfg) })
	}
	if _, _, err := (Config{Only: "nonsense"}).plan(1); err == nil {
		t.Error("a fault that does not exist is accepted")
	}
}

func coversEveryFault(t *testing.T, cfg Config) {
	var first, second []string
	for n := range len(cfg.breakages()) {
		b, seed, err := cfg.plan(n + 1)
		if err != nil {
			t.Fatal(err)
		}
		again, same, _ := cfg.plan(n + 1)
		if again.name != b.name || same != seed {
			t.Errorf("round %d is %s and then %s", n+1, b.name, again.name)
		}
		next, _, _ := cfg.plan(n + 1 + len(cfg.breakages()))
		first, second = append(first, b.name), append(second, next.name)
	}
	if slices.Equal(first, second) {
		t.Error("the second cycle has the order of the first")
	}
	slices.Sort(first)
	if len(slices.Compact(first)) != len(cfg.breakages()) {
		t.Errorf("the first cycle is %v", first)
	}
	if cfg.Broker == Cluster { // where services die at no step
		return
	}
	for _, step := range fault.Steps() {
		if !slices.ContainsFunc(first, func(name string) bool { return strings.HasSuffix(name, " dies "+string(step)) }) {
			t.Errorf("nobody dies %s", step)
		}
	}
}
