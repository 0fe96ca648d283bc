package verdicts_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/testenv/golden"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// story is a file of the corpus: what was seen of one place, and the states that
// it is to go through.
type story struct {
	name    string
	About   string           `json:"about"`
	Source  string           `json:"source"`
	Expect  []verdicts.State `json:"expect"`
	place   verdicts.Place
	samples []verdicts.Sample
}

func stories(t testing.TB) (all []story) {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := story{name: strings.TrimSuffix(filepath.Base(file), ".jsonl")}
		first, err := bufio.NewReader(bytes.NewReader(text)).ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(first, &s); err != nil || s.About == "" || s.Source == "" || len(s.Expect) == 0 {
			t.Fatalf("%s says neither what it is about, where it comes from nor what is expected: %v", file, err)
		}
		if s.place, s.samples, err = verdicts.Read(bytes.NewReader(text)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, s)
	}
	return all
}

// replay judges a story sample by sample, as a watcher would that has a timeline of
// some length, and calls see with each verdict.
func (s story) replay(t testing.TB, limit int, see func(verdicts.Sample, verdicts.Verdict)) {
	t.Helper()
	line := verdicts.NewTimeline(s.place, limit)
	for _, sample := range s.samples {
		if err := line.Add(sample); err != nil {
			t.Fatal(err)
		}
		see(sample, verdicts.DefaultRules().Judge(line, sample.At))
	}
}

// Every file goes through the states that it names, and the report beside it, which
// also has what Burrow's rules say, and why where it is the contrary, is as it was looked at.
func TestTheCorpusGetsItsVerdicts(t *testing.T) {
	for _, s := range stories(t) {
		t.Run(s.name, func(t *testing.T) {
			var got []verdicts.State
			var report strings.Builder
			fmt.Fprintf(&report, "%s\n%s\n\n", s.About, s.Source)
			var theirs burrow
			before := ""
			s.replay(t, 0, func(sample verdicts.Sample, v verdicts.Verdict) {
				theirs.see(sample)
				if v.Evidence.IsZero() {
					t.Errorf("at %s: %s without evidence", sample.At, v.State)
				}
				if len(got) == 0 || got[len(got)-1] != v.State {
					got = append(got, v.State)
				}
				if says := theirs.says(sample.At); string(v.State)+says.status != before {
					before = string(v.State) + says.status
					fmt.Fprintf(&report, "%4.0f s  Burrow %-9s  %s\n", sample.At.Sub(s.samples[0].At).Seconds(), says.status, v)
					if says.trouble() != v.State.Worse(verdicts.Unknown) {
						fmt.Fprintf(&report, "        where Burrow goes by: %s\n", says.why)
					}
				}
			})
			if diff := cmp.Diff(s.Expect, got); diff != "" {
				t.Errorf("states (-expected +got):\n%s\n%s", diff, report.String())
			}
			golden.Compare(t, filepath.Join("corpus", s.name+".txt"), report.String())
		})
	}
}

// way leads from one state to another.
type way struct{ from, to verdicts.State }

// impossible are the ways that no samples can show, and why.
func impossible() map[way]string {
	return map[way]string{
		{verdicts.Idle, verdicts.Stalled}: "a stall has lasted for 90 s, so the sample before it shows that something waits or is not known: that one is not idle",
	}
}

// Some file goes each way from one state to another that there can be.
func TestTheCorpusGoesEveryWay(t *testing.T) {
	gone := map[way]bool{}
	for _, s := range stories(t) {
		for i := range s.Expect[1:] {
			gone[way{s.Expect[i], s.Expect[i+1]}] = true
		}
	}
	for _, from := range verdicts.States() {
		for _, to := range verdicts.States() {
			w := way{from, to}
			if why := impossible()[w]; from != to && gone[w] == (why != "") {
				t.Errorf("from %s to %s: in a file: %t; impossible: %q", from, to, gone[w], why)
			}
		}
	}
}

// What a bounded timeline forgets changes no verdict.
func TestForgettingChangesNoVerdict(t *testing.T) {
	for _, s := range stories(t) {
		t.Run(s.name, func(t *testing.T) {
			var whole, bounded []verdicts.State
			s.replay(t, 1_000_000, func(_ verdicts.Sample, v verdicts.Verdict) { whole = append(whole, v.State) })
			s.replay(t, 32, func(_ verdicts.Sample, v verdicts.Verdict) { bounded = append(bounded, v.State) })
			if diff := cmp.Diff(slices.Compact(whole), slices.Compact(bounded)); diff != "" {
				t.Errorf("(-all samples +32 of them):\n%s", diff)
			}
		})
	}
}
