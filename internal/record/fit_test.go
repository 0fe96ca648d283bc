package record_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/record"
)

// Whatever a letter holds and whatever it is cut to, it has no more than that
// size, can be read, says the same place, and keeps as much as there is room for.
func TestALetterIsCutToASize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string, most int) []byte {
			return make([]byte, rapid.IntRange(0, most).Draw(t, name))
		}
		o := origin()
		o.Message, o.EventID = string(text("message", 2000)), string(text("event", 2000))
		var own []record.Header
		for range rapid.IntRange(0, 5).Draw(t, "headers") {
			own = append(own, record.Header{Key: rapid.SampledFrom([]string{"h", "traceparent", "originalTopic"}).Draw(t, "name"), Value: text("header", 3000)})
		}
		r := letter(o, own...)
		m := record.Message{Topic: r.Topic, Key: text("key", 3000), Value: text("value", 5000), Headers: r.Headers}
		size := rapid.IntRange(0, 12_000).Draw(t, "size")
		cut, err := record.Fit(m, size)
		if errors.Is(err, record.ErrNoRoom) {
			if size > 700 {
				t.Fatalf("no room in %d bytes", size)
			}
			return
		}
		if err != nil || cut.Size() > max(size, 0) {
			t.Fatalf("%d bytes of %d: %v", cut.Size(), size, err)
		}
		if m.Size() <= size && cut.Size() != m.Size() {
			t.Fatalf("cut to %d though %d fit", cut.Size(), size)
		}
		got, original, err := record.ParseOrigin(record.Record{Headers: cut.Headers})
		if err != nil || got.Place != o.Place || got.Attempts != o.Attempts {
			t.Fatalf("read as %+v, %v", got, err)
		}
		if len(original.Headers) == len(own) && len(cut.Value) < len(m.Value) && len(cut.Key) == len(m.Key) && cut.Size() != size {
			t.Fatalf("%d bytes of room are left", size-cut.Size())
		}
	})
	if _, err := record.Fit(record.Message{Value: make([]byte, 100)}, 50); !errors.Is(err, record.ErrNotDeadLetter) {
		t.Errorf("another message: %v", err)
	}
}
