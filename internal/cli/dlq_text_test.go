package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
)

// hostile is text that a terminal would obey.
const hostile = "a\x1b[2Jb\u009bc\nd\x00\u202ee\xff"

func TestATerminalIsNotAtALettersCommand(t *testing.T) {
	l := deadletters.Whole{
		Letter: deadletters.Letter{
			ID: record.At("orders.dlq", 0, 0), Key: hostile, Reason: "malformed", Class: hostile, Group: hostile, Message: hostile,
			Origin: record.At("orders.created", 0, 0),
		},
		Headers: []record.Header{{Key: hostile, Value: []byte(hostile)}},
		Trace:   []record.Header{{Key: "traceparent", Value: []byte(hostile)}},
	}
	var out bytes.Buffer
	for _, value := range []string{"null", `"\u001b` + "\u009b" + `"`, "x\x1b[2J\r\u202e", "\xff\x1b", ""} {
		l.Value = []byte(value)
		if err := writeLetter(&out, l, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeTable(&out, deadletters.Listing{Letters: []deadletters.Letter{l.Letter}}, deadletters.Filter{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U was written:\n%q", r, out.String())
		}
	}
	if want := `a\u001b[2Jb\u009bc\u000ad\u0000\u202ee\xff`; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
}

func TestValuesAreShownAsWhatTheyAre(t *testing.T) {
	for value, want := range map[string]string{
		`{"a":1}`: "value, JSON, 7 bytes\n{\n  \"a\": 1\n}\n",
		"text\n2": "value, not JSON, 6 bytes\ntext\n2\n",
		"":        "value, not JSON, 0 bytes\n",
		"\xff":    "value, no text, 1 byte\n00000000  ff                                                |.|\n",
	} {
		if diff := cmp.Diff(want, valueText([]byte(value))); diff != "" {
			t.Errorf("%q: %s", value, diff)
		}
	}
	if got := valueText(nil); got != "no value\n" {
		t.Errorf("null: %q", got)
	}
}

func TestTheTableIsAlignedAndCountsReasons(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	letter := func(key, reason string, resolution deadletters.Resolution) deadletters.Letter {
		l := deadletters.Letter{
			ID: record.At("orders.dlq", 0, 1), Key: key, Reason: reason, FailedAt: now.Add(-time.Minute), Resolution: resolution,
		}
		if reason != deadletters.ReasonForeign {
			l.Class, l.Group, l.Attempts, l.Origin = "reject", "suivi-svc", 1, record.At("orders.created", 0, 0)
		}
		return l
	}
	listing := deadletters.Listing{Letters: []deadletters.Letter{
		letter(strings.Repeat("k", 50), deadletters.ReasonForeign, deadletters.Resolution{}),
		letter("order-1", "malformed", deadletters.Resolution{Kind: record.Purged, At: now.Add(-time.Hour)}),
		letter("order-2", "malformed", deadletters.Resolution{}),
		letter("order-3", "malformed", deadletters.Resolution{}),
	}, Hidden: 2, Decided: 1}
	listing.Letters[3].Decision = "AUTHORIZED"
	var got bytes.Buffer
	if err := writeTable(&got, listing, deadletters.Filter{}, now); err != nil {
		t.Fatal(err)
	}
	want := `
ID              AGE   REASON     CLASS   GROUP      TRIES  ORDER                                     FROM                STATE
orders.dlq/0/1  1m0s  foreign    -       -          -      kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…  -                   waits
orders.dlq/0/1  1m0s  malformed  reject  suivi-svc  1      order-1                                   orders.created/0/0  purged 1h0m ago
orders.dlq/0/1  1m0s  malformed  reject  suivi-svc  1      order-2                                   orders.created/0/0  waits
orders.dlq/0/1  1m0s  malformed  reject  suivi-svc  1      order-3                                   orders.created/0/0  decided: AUTHORIZED

4 dead letters: 3 malformed, 1 foreign (2 resolved and 1 letter of decided orders not shown; --all shows them)
`
	if diff := cmp.Diff(want, "\n"+got.String()); diff != "" {
		t.Error(diff)
	}
}

// Any record can be written as JSON, and read back.
func TestAnyLetterIsJSON(t *testing.T) {
	for _, value := range [][]byte{nil, {}, []byte(`{"a":1}`), []byte("\xff\x00")} {
		w := deadletters.Whole{Value: value, Headers: []record.Header{{Key: "k", Value: []byte("\xff")}, {Key: "e", Value: nil}}}
		text, err := json.Marshal(wholeJSON(w))
		if err != nil {
			t.Fatal(err)
		}
		var back jsonWhole
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if string(back.Value) != "null" && string(back.Value) != string(value) || len(value) > 0 && back.ValueBase64 == nil && string(back.Value) == "null" ||
			string(back.Headers[0].ValueBase64) != "\xff" || *back.Headers[1].Value != "" {
			t.Errorf("%q became %s", value, text)
		}
	}
}
