package record_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/record"
)

func TestPlaces(t *testing.T) {
	for text, want := range map[string]record.Place{
		"orders.dlq/1/42":                  record.At("orders.dlq", 1, 42),
		"t/0/0":                            record.At("t", 0, 0),
		"t/2147483647/9223372036854775807": record.At("t", 1<<31-1, 1<<63-1),
	} {
		if got, err := record.ParsePlace(text); err != nil || got != want || got.String() != text {
			t.Errorf("ParsePlace(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "t", "t/1", "/1/2", "t/1/2/3", "t//2", "t/1/", "t/x/2", "t/1/x", "t/-1/2", "t/1/-2", "t/-0/2", "t/+1/2", "t/1/+2", "t/01/2", "t/1/02",
		"t/1/ 2", "t/1/2\n", "t/0x1/2", "t/1/1_0", "t/2147483648/1", "t/1/9223372036854775808", "t/4294967296/1", "t/١/2",
	} {
		if got, err := record.ParsePlace(text); !errors.Is(err, record.ErrPlace) || got != (record.Place{}) {
			t.Errorf("ParsePlace(%q) = %v, %v; want ErrPlace", text, got, err)
		}
	}
	if _, err := record.ParsePlace(strings.Repeat("x", 1<<20)); len(err.Error()) > 1<<10 {
		t.Errorf("the error repeats all of %d bytes", len(err.Error()))
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("orders.dlq/1/42")
	f.Add("a/0/-0")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := record.ParsePlace(text)
		if err == nil && (p.String() != text || p.ID < 0 || p.Offset < 0 || p.Topic == "") || err != nil && p != (record.Place{}) {
			t.Errorf("ParsePlace(%q) = %+v, %v", text, p, err)
		}
	})
}
