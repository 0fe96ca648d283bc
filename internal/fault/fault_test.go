package fault

import "testing"

func TestAnInjectorKillsOnceAtTheNthTime(t *testing.T) {
	kills := 0
	i, err := Parse("after-store#3", func() { kills++ })
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		i.At(BeforeStore)
		i.At(AfterStore)
		if want := min(1, (n+1)/3); kills != want {
			t.Errorf("after %d times: %d kills, want %d", n+1, kills, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"after-store", "after-store#0", "after-store#x", "nowhere#1", "#1"} {
		if i, err := Parse(text, Kill); err == nil || i != nil {
			t.Errorf("Parse(%q) = %v, %v", text, i, err)
		}
	}
}

func TestNoFaultDoesNothing(t *testing.T) {
	i, err := Parse("", Kill)
	if i != nil || err != nil {
		t.Fatal(i, err)
	}
	i.At(AfterStore)
}
