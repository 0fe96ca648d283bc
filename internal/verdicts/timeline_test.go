package verdicts_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

var (
	place = verdicts.Place{Group: "billing", Topic: "order.created", Partition: 1}
	start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
)

func TestFiguresSayWhatIsNotKnown(t *testing.T) {
	var unknown verdicts.Number
	for _, tt := range []struct {
		name      string
		value     verdicts.Number
		json, say string
	}{
		{"unknown", unknown, "null", "unknown"},
		{"none", verdicts.None[int64](), `"none"`, "none"},
		{"zero", verdicts.Known[int64](0), "0", "0"},
		{"a figure", verdicts.Known[int64](48213), "48213", "48213"},
		{"a negative figure", verdicts.Known[int64](-5), "null", "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := tt.value.MarshalJSON()
			if err != nil || string(text) != tt.json || tt.value.String() != tt.say {
				t.Errorf("%s, %q, %v, want %s and %q", text, tt.value, err, tt.json, tt.say)
			}
			var back verdicts.Number
			if err := back.UnmarshalJSON(text); err != nil || back != tt.value {
				t.Errorf("read back %v, %v", back, err)
			}
		})
	}
	var span verdicts.Span
	for _, wrong := range []string{"-1", "1e300", `"soon"`, "{}"} {
		if err := span.UnmarshalJSON([]byte(wrong)); err == nil {
			t.Errorf("%s was taken for %v seconds", wrong, span)
		}
	}
}

func TestATimelineOnlyGoesForward(t *testing.T) {
	line := verdicts.NewTimeline(place, 0)
	for i, at := range []time.Time{start, start.Add(time.Second)} {
		if err := line.Add(verdicts.Sample{At: at, End: verdicts.Known(int64(i))}); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []time.Time{start, start.Add(time.Second)} {
		if err := line.Add(verdicts.Sample{At: at}); !errors.Is(err, verdicts.ErrBackwards) {
			t.Errorf("a sample of %s was taken: %v", at, err)
		}
	}
	if len(line.Samples()) != 2 {
		t.Errorf("it has %d samples, want the two that went forward", len(line.Samples()))
	}
}

// Old samples get fewer, but it is never forgotten when the commit stopped or
// where it was before it went back.
func TestATimelineIsBoundedAndKeepsWhatTells(t *testing.T) {
	line := verdicts.NewTimeline(place, 16)
	committed := int64(0)
	for i := range 2000 {
		switch {
		case i < 100:
			committed = int64(i)
		case i == 100: // went back, and stays
			committed = 50
		}
		s := verdicts.Sample{At: start.Add(time.Duration(i) * time.Second), Committed: verdicts.Known(committed), End: verdicts.Known(int64(i))}
		if err := line.Add(s); err != nil {
			t.Fatal(err)
		}
		if len(line.Samples()) > 16 {
			t.Fatalf("%d samples are kept", len(line.Samples()))
		}
	}
	var before, stopped bool
	for _, s := range line.Samples() {
		before = before || s.Committed == verdicts.Known[int64](99)
		stopped = stopped || s.At.Equal(start.Add(100*time.Second))
	}
	if !before || !stopped {
		t.Errorf("forgot where the commit was (%t) or when it stopped (%t)", !before, !stopped)
	}
}

func TestWhatStaysTheSameIsTwoSamples(t *testing.T) {
	line := verdicts.NewTimeline(place, 0)
	for i := range 100 {
		passed := time.Duration(i) * time.Second
		s := verdicts.Sample{
			At: start.Add(passed), Committed: verdicts.Known[int64](5), End: verdicts.Known[int64](9),
			FirstUnread: verdicts.Known(time.Minute + passed), Group: &verdicts.Group{State: "Empty"},
		}
		if err := line.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	samples := line.Samples()
	if len(samples) != 2 || !samples[0].At.Equal(start) || !samples[1].At.Equal(start.Add(99*time.Second)) {
		t.Errorf("kept %v", samples)
	}
}

func TestSamplesAreReadAsTheyWereWritten(t *testing.T) {
	samples := []verdicts.Sample{
		{At: start, Why: "the broker did not answer"},
		{
			At: start.Add(time.Second), Oldest: verdicts.Known[int64](0), Stable: verdicts.Known[int64](7), End: verdicts.Known[int64](9),
			Committed: verdicts.None[int64](), FirstUnread: verdicts.Known(1500 * time.Millisecond), LastRecord: verdicts.None[time.Duration](),
			Owner: verdicts.Nobody, Group: &verdicts.Group{State: "Stable", Type: "classic", Members: verdicts.Known[int64](2)},
			Topic: &verdicts.Topic{ID: "abc", Retention: verdicts.Known(time.Hour), RetentionBytes: verdicts.None[int64]()},
		},
	}
	var file bytes.Buffer
	if err := verdicts.Write(&file, place, samples); err != nil {
		t.Fatal(err)
	}
	where, back, err := verdicts.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.AllowUnexported(verdicts.Number{}, verdicts.Span{})
	if diff := cmp.Diff(samples, back, same); diff != "" || where != place {
		t.Errorf("%s (-written +read):\n%s", where, diff)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"group":"g","topic":"t","partition":1}` + "\n" + `{"at":"2026-11-28T12:00:00Z","end":5,"committed":"none"}`)
	f.Add("{}\n\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		where, samples, err := verdicts.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		line := verdicts.NewTimeline(where, 0)
		for _, s := range samples {
			if line.Add(s) != nil {
				return
			}
		}
		at := start
		if last, ok := line.Last(); ok {
			at = last.At
		}
		v := verdicts.DefaultRules().Judge(line, at)
		if v.Evidence.IsZero() || v.State == "" {
			t.Errorf("a verdict without evidence: %+v", v)
		}
	})
}
