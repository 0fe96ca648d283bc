package heap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestHowMuchGarbageMayGather(t *testing.T) {
	for live, want := range map[uint64]int{0: 800, 1 << 20: 800, 8 << 20: 800, 16 << 20: 400, 40 << 20: 160, 64 << 20: 100, 1 << 30: 100, 1 << 60: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d bytes in use %d %%, want %d", live, got, want)
		}
	}
}

// percent is what is in force.
func percent() int {
	now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(now)
	return int(now[0].Value.Uint64())
}

// await collects until the percentage is so.
func await(t *testing.T, what string, ok func(int) bool) {
	t.Helper()
	for !ok(percent()) {
		if t.Context().Err() != nil {
			t.Fatal(what)
		}
		runtime.GC()
	}
}

func TestRelaxFollowsWhatIsInUse(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(70)
	defer debug.SetGCPercent(before)
	stop := Relax()
	await(t, "little is in use", func(p int) bool { return p > 200 })
	much := make([]byte, 80<<20)
	await(t, "much is in use", func(p int) bool { return p == 100 })
	runtime.KeepAlive(much)
	await(t, "little is in use again", func(p int) bool { return p > 200 })
	stop()
	if got := percent(); got != 70 {
		t.Errorf("%d %% afterwards, want what it was", got)
	}
}

func TestRelaxLeavesWhatIsSet(t *testing.T) {
	t.Setenv("GOGC", "90")
	before := percent()
	stop := Relax()
	defer stop()
	if got := percent(); got != before {
		t.Errorf("%d %%, want %d as before", got, before)
	}
}
