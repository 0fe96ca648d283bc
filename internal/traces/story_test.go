package traces

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// at is a record that stands at a place and was written so long after the
// order was placed.
func at(topic string, offset int64, after time.Duration, headers ...string) record.Record {
	r := record.Record{
		Place: record.At(topic, 1, offset), Key: []byte("order-1"), Value: []byte(`{"userId":"marker-user"}`),
		Time: time.Date(2026, 11, 23, 16, 40, 12, 0, time.UTC).Add(after),
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, record.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func traceparent(flags string) string { return "00-" + testTrace + "-00f067aa0ba902b7-" + flags }

func created(offset int64, after time.Duration) record.Record {
	return at(banking.TopicOrdersCreated, offset, after, "eventId", "event-1", "eventType", "OrderCreated", "traceparent", traceparent("01"))
}

func decided(offset int64, after time.Duration) record.Record {
	return at(banking.TopicPaymentsAuthorized, offset, after,
		"eventId", "event-2", "eventType", "PaymentAuthorized", "originalEventId", "event-1", "traceparent", traceparent("01"))
}

// letter is a dead letter of the record at that offset of the topic.
func letter(offset int64, after time.Duration, group, topic, of string) record.Record {
	dlq, event := banking.DeadLetterTopic(topic), "event-1"
	if topic != banking.TopicOrdersCreated {
		event = "event-2"
	}
	return at(dlq, offset, after, "originalEventId", event, "originalTopic", topic, "originalPartition", "1", "originalOffset", of,
		"consumerGroup", group, "attempts", "3", "errorClass", "transient", "errorReason", "authoriser", "errorMessage", "authoriser failed",
		"failedAt", "2026-11-23T16:40:12Z", "eventId", "event-1", "eventType", "OrderCreated", "traceparent", traceparent("01"))
}

func marker(offset int64, after time.Duration, what, of string) record.Record {
	r := at(banking.TopicOrdersDLQ, offset, after, "resolves", of, "resolution", what, "resolvedAt", "2026-11-23T16:40:12Z")
	r.Value = nil
	return r
}

func TestStoriesReadLikeThis(t *testing.T) {
	const ms = time.Millisecond
	const paiement, orders = banking.GroupPaiement, banking.TopicOrdersCreated
	for name, records := range map[string][]record.Record{
		"paid":   {created(4, 0), decided(7, 31*ms)},
		"waits":  {created(4, 0), letter(0, 472*ms, paiement, orders, "4")},
		"purged": {created(4, 0), letter(0, 472*ms, paiement, orders, "4"), marker(1, time.Hour, "purged", "orders.dlq/1/0")},
		"replayed": {
			created(4, 0), letter(0, 472*ms, paiement, orders, "4"),
			created(6, 65*time.Second), marker(1, 65*time.Second+5*ms, "replayed", "orders.dlq/1/0"), letter(2, 66*time.Second, paiement, orders, "6"),
			created(9, 50*time.Hour), marker(3, 50*time.Hour+5*ms, "replayed", "orders.dlq/1/2"), decided(7, 50*time.Hour+31*ms),
		},
		"replayed, the replay is gone": {created(4, 0), letter(0, 472*ms, paiement, orders, "4"), marker(1, time.Second, "replayed", "orders.dlq/1/0")},
		"published twice by a crash": {
			created(4, 0), created(5, 40*ms), letter(0, 50*ms, paiement, orders, "4"), letter(1, 60*ms, paiement, orders, "4"),
			decided(7, 70*ms), decided(8, 80*ms),
		},
		"clocks differ":      {decided(7, -20*ms), created(4, 0)},
		"set aside by suivi": {created(4, 0), decided(7, 31*ms), letter(0, 90*ms, banking.GroupSuivi, banking.TopicPaymentsAuthorized, "7")},
		"its start is gone":  {decided(7, 0), letter(0, 90*ms, banking.GroupSuivi, banking.TopicPaymentsAuthorized, "7")},
		"hostile": {
			at(orders, 1, 0, "eventId", "\x1b[31mred", "eventType", "PaymentAuthorized"),
			at(banking.TopicOrdersDLQ, 0, ms, "resolves", "orders.dlq/1/0", "resolution", "replayed"),
			at(banking.TopicOrdersDLQ, 1, ms, "originalTopic", "x"),
			letter(2, 2*ms, "\x1b[31mred-svc", orders, "1"),
			letter(3, 2*ms, paiement, orders, "1/2"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := Report{Order: "order-1", Why: "Jaeger is not used", Facts: facts(records)}
			report.Outcome = OutcomeOf("order-1", "", report.Facts, created(0, 0).Time.Add(51*time.Hour))
			if ids := TraceIDs(report.Facts); len(ids) > 0 {
				report.TraceID = ids[0]
			}
			text := report.Text(0)
			telemetrytest.Golden(t, "story-"+strings.NewReplacer(",", "", " ", "-").Replace(name)+".txt", text)
			printable(t, text)
			body, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text+string(body), "marker-user") {
				t.Errorf("the story names the user:\n%s%s", text, body)
			}
			var got struct {
				Source  string
				Records []map[string]any
			}
			if err := json.Unmarshal(body, &got); err != nil || got.Source != "kafka" || len(got.Records) != len(records) {
				t.Errorf("%v in %s", err, body)
			}
		})
	}
}

func facts(records []record.Record) (out []Fact) {
	for _, r := range records {
		out = append(out, factOf(r))
	}
	return out
}

func TestALimitCutsTheStory(t *testing.T) {
	text := storyText(facts([]record.Record{created(4, 0), decided(7, 1)}), 1)
	if strings.Count(text, "\n") != 2 || !strings.HasSuffix(text, "and 1 record more; --limit shows more of them\n") {
		t.Errorf("one line of two:\n%s", text)
	}
}

func TestTraceparents(t *testing.T) {
	const span = "00f067aa0ba902b7"
	good := Context{TraceID: testTrace, SpanID: span, Sampled: true}
	for text, want := range map[string]Context{
		"00-" + testTrace + "-" + span + "-01":        good,
		"00-" + testTrace + "-" + span + "-03":        good,
		"01-" + testTrace + "-" + span + "-01-future": good,
		"00-" + testTrace + "-" + span + "-00":        {TraceID: testTrace, SpanID: span},
	} {
		if got, ok := ParseContext(text); !ok || got != want {
			t.Errorf("%s: %+v, %t", text, got, ok)
		}
	}
	for _, text := range []string{
		"", "-", "00", testTrace, "00-" + testTrace + "-" + span, "00-" + testTrace + "-" + span + "-01-more", "ff-" + testTrace + "-" + span + "-01",
		"00-" + strings.ToUpper(testTrace) + "-" + span + "-01", "00-" + strings.Repeat("0", 32) + "-" + span + "-01",
		"00-" + testTrace + "-" + strings.Repeat("0", 16) + "-01", "00-" + testTrace + "-" + span + "-1", "00-" + testTrace + "-" + span + "-zz",
		"zz-" + testTrace + "-" + span + "-01", "00-" + testTrace + "f-" + span + "-01",
	} {
		if got, ok := ParseContext(text); ok || got != (Context{}) {
			t.Errorf("%q: %+v, %t", text, got, ok)
		}
	}
}

// Times that are none can be written all the same.
func TestARecordOfNoTime(t *testing.T) {
	r := created(1, 0)
	r.Time = time.UnixMilli(1 << 62)
	if _, err := json.Marshal(Report{Facts: facts([]record.Record{r})}); err != nil {
		t.Error(err)
	}
}

// Where a record has several traceparents its readers began a new trace, so the
// record names none, whatever the first of them says.
func TestSeveralTraceparentsAreNone(t *testing.T) {
	one, other := created(4, 0), letter(0, 0, banking.GroupPaiement, banking.TopicOrdersCreated, "4")
	if factOf(one).Context.TraceID != testTrace || factOf(other).Context.TraceID != testTrace {
		t.Error("one traceparent is not read")
	}
	for _, r := range []record.Record{one, other} {
		r.Headers = append(r.Headers, record.Header{Key: "traceparent", Value: []byte(traceparent("00"))})
		if f := factOf(r); f.Context != (Context{}) || f.Kind == KindUnreadable {
			t.Errorf("two traceparents are read as %+v", f)
		}
	}
}
