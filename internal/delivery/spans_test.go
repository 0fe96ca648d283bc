package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// batches says, for each batch span of a name, how many links it has, whether
// it failed, and the keys of the records in whose traces it is told.
func (f *fixture) batches(name string) string {
	keys := map[trace.SpanID]string{} // of process spans
	var roots, echoes []tracetest.SpanStub
	for _, s := range f.telemetry.Spans() {
		switch {
		case s.Name == "process "+source:
			keys[s.SpanContext.SpanID()] = attributeOf(s, "messaging.kafka.message.key")
		case s.Name == name && s.Parent.IsValid():
			echoes = append(echoes, s)
		case s.Name == name:
			roots = append(roots, s)
		}
	}
	var out []string
	for _, root := range roots {
		var told []string
		for _, echo := range echoes {
			if echo.Links[0].SpanContext.SpanID() == root.SpanContext.SpanID() && echo.Status == root.Status {
				told = append(told, keys[echo.Parent.SpanID()])
			}
		}
		slices.Sort(told)
		text := fmt.Sprintf("%d links: %s", len(root.Links), strings.Join(told, " "))
		if root.Status.Code == codes.Error {
			text += " failed"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func attributeOf(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// What is stored and what is published is told to the records it was done for,
// and no others.
func TestBatchSpansNameTheirRecords(t *testing.T) {
	for name, tt := range map[string]struct {
		records        []string
		store, publish string
	}{
		"results and dead letters": {[]string{"a ok", "b reject"}, "2 links: a b", "2 links: a b"},
		"a duplicate":              {[]string{"a ok", "b duplicate"}, "2 links: a b", "1 links: a"},
		"nothing to publish":       {[]string{"a duplicate"}, "1 links: a", ""},
		"the try that counts":      {[]string{"a second-try"}, "1 links: a", "1 links: a"},
		"two batches":              {[]string{"a ok", "a duplicate"}, "1 links: a; 1 links: a", "1 links: a"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if _, err := f.run(t, t.Context(), records(tt.records...)); err != nil {
				t.Fatal(err)
			}
			if store, publish := f.batches("store "+source), f.batches("publish"); store != tt.store || publish != tt.publish {
				t.Errorf("stored %q, published %q; want %q and %q", store, publish, tt.store, tt.publish)
			}
		})
	}
}

// A transaction that did not happen, and messages that did not get out, fail
// their spans; the next owner's publish is told in the same traces.
func TestBatchSpansThatFail(t *testing.T) {
	f := newFixture(t)
	f.handler.during = func(record.Record) {
		if err := f.store.Update(context.Background(), func(tx *storage.Tx) error {
			return tx.Advance(context.Background(), f.partition, 0, 7)
		}); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.run(t, t.Context(), records("a ok")); !errors.Is(err, storage.ErrFenced) {
		t.Fatal(err)
	}
	if got := f.batches("store " + source); got != "1 links: a failed" {
		t.Errorf("stored %q", got)
	}

	f = newFixture(t)
	f.publisher.fail = 1 << 30
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	if _, err := f.run(t, session, records("a ok", "b ok")); err != nil {
		t.Fatal(err)
	}
	f.publisher.fail = 0
	if _, err := f.run(t, t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if store, publish := f.batches("store "+source), f.batches("publish"); store != "2 links: a b" || publish != "2 links: a b failed; 2 links: a b" {
		t.Errorf("stored %q, published %q", store, publish)
	}
}
