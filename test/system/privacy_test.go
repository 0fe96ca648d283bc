//go:build !race || whole

package system_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// What must appear in no signal: a user, an item and an amount, and what a
// client says in its baggage. The order's id may be in spans and logs.
const (
	markedUser    = "user-marked-5f3a"
	markedItem    = "item-marked-5f3a"
	markedBaggage = "baggage-marked-5f3a"
	markedAmount  = "7919.37"
)

// secrets finds the markers, the amount in euros and in cents. Between words,
// so that no id or time meets it.
func secrets() *regexp.Regexp {
	return regexp.MustCompile(`marked-5f3a|\b7919[.,]37\b|\b791937\b`)
}

// mustBeSilent fails where a text of a signal names a marker.
func mustBeSilent(t *testing.T, signal, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if found := secrets().FindString(line); found != "" {
			t.Errorf("%s has %q: %.300s", signal, found, line)
		}
	}
}

// Nobody learns from spans, logs or metrics who ordered what for how much,
// whether an order goes well, is refused, is set aside, or is replayed.
func TestPrivacyOfEverySignal(t *testing.T) {
	c := &collector{}
	switchOn(t, c)
	data := t.TempDir()
	s := bank.Start(t, data, "--paiement-error-rate=1") // log level info
	placeMarked(t, s)
	failed(t, s, "order-1")
	publishMalformed(t, s.Brokers)
	bank.Eventually(t, func() error {
		if n := recordsOn(t, s.Brokers, banking.TopicOrdersDLQ); n != 1+2*malformed { // of paiement, and of suivi
			return fmt.Errorf("%d dead letters", n)
		}
		return nil
	})
	refuseMarked(t, s)
	mustBeSilentPages(t, s)
	ended(t, s.Program)
	logs := s.Program.Stdout.String() + s.Program.Stderr.String()

	s = bank.Start(t, data, "--paiement-reject-rate=0.5", "--paiement-seed=1")
	mustDLQ(t, s.Brokers, "replay", "--all-letters")
	statuses := map[string]bool{s.Decided(t, "order-1").Status: true}
	for i := range 8 {
		placeMarked(t, s)
		statuses[s.Decided(t, fmt.Sprintf("order-%d", i+2)).Status] = true
	}
	if s.Settled(t, 9); len(statuses) != 2 {
		t.Errorf("the orders' statuses are %v, want authorised and rejected ones", statuses)
	}
	checkRecords(t, s.Brokers)
	mustBeSilentPages(t, s)
	ended(t, s.Program)
	mustBeSilent(t, "the log", logs+s.Program.Stdout.String()+s.Program.Stderr.String())
	mustBeSilentExports(t, c)
}

// placeMarked posts an order that has every marker.
func placeMarked(t *testing.T, s *bank.Bank) {
	t.Helper()
	body := fmt.Sprintf(`{"userId":%q,"amount":%s,"items":[%q]}`, markedUser, markedAmount, markedItem)
	if status, _ := place(t, s, body, "baggage: tenant="+markedBaggage); status != http.StatusCreated {
		t.Fatalf("POST /orders = %d", status)
	}
}

// refuseMarked posts what is refused, and sends requests with markers in the
// query.
func refuseMarked(t *testing.T, s *bank.Bank) {
	t.Helper()
	for _, body := range []string{
		fmt.Sprintf(`{"userId":%q,"amount":-%s,"items":[%q]}`, markedUser, markedAmount, markedItem),
		fmt.Sprintf(`{"userId":%q,"amount":"%s","items":[]}`, markedUser, markedAmount),
		fmt.Sprintf(`{"userId":%q,"amount":%s1}`, markedUser, markedAmount),
		fmt.Sprintf(`{%q:%s`, markedUser, markedAmount),
		fmt.Sprintf(`{"userId":%q,"amount":1,"items":[%q]}`, strings.Repeat(markedUser, 10_000), markedItem),
	} {
		if status, _ := place(t, s, body, "baggage: tenant="+markedBaggage); status < 400 || status > 499 {
			t.Errorf("%.60s: %d", body, status)
		}
	}
	for _, url := range []string{s.Suivi + "/orders", s.Suivi + "/orders/order-1/status", s.Analyseur + "/statistics"} {
		bank.Get(t, url+"?limit="+markedUser+"&amount="+markedAmount)
	}
}

// malformed is how many records publishMalformed writes.
const malformed = 4

// publishMalformed writes records that no order is.
func publishMalformed(t *testing.T, brokers string) {
	t.Helper()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer([]string{brokers}, config)
	if err != nil {
		t.Fatal(err)
	}
	event := func(amount string) string {
		return fmt.Sprintf(`{"eventId":"e","orderId":"order-9","userId":%q,"amount":%s,"items":[%q],"status":"CREATED","createdAt":"2026-01-02T03:04:05Z"}`,
			markedUser, amount, markedItem)
	}
	for _, value := range [malformed]string{event(markedAmount)[1:], event(`"` + markedAmount + `"`), event("-" + markedAmount), event(markedAmount)} {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder("order-9"), Value: sarama.StringEncoder(value),
			Headers: []sarama.RecordHeader{
				{Key: []byte(record.HeaderEventID), Value: []byte("another")}, // contradicts a value that is well formed
				{Key: []byte(record.HeaderEventType), Value: []byte("OrderCreated")},
				{Key: []byte("baggage"), Value: []byte("tenant=" + markedBaggage)},
			},
		}); err != nil {
			t.Error(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Error(err)
	}
}

// mustBeSilentPages looks at what Prometheus gets in both formats. The sum of
// order_amount_euros shows amounts by its nature; no other line may.
func mustBeSilentPages(t *testing.T, s *bank.Bank) {
	t.Helper()
	exempt := regexp.MustCompile(`(?m)^order_amount_euros_sum\{.*\n`)
	order := regexp.MustCompile(`order-\d`)
	for name, url := range s.URLs {
		for _, accept := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
			page := getAs(t, url+"/metrics", accept)
			if exemplars := strings.Contains(page, `# {`); exemplars != strings.Contains(accept, "openmetrics") && name != "analyseur" && name != "sentinelle" {
				t.Errorf("%s has exemplars as %s: %v", name, accept, exemplars)
			}
			mustBeSilent(t, name+"'s page as "+accept, exempt.ReplaceAllString(page, ""))
			if found := order.FindString(page); found != "" {
				t.Errorf("%s's page names %s", name, found)
			}
		}
	}
}

// getAs reads a page in a format.
func getAs(t *testing.T, url, accept string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body strings.Builder
	if err := response.Write(&body); err != nil {
		t.Fatal(err)
	}
	return body.String()
}

// checkRecords shows that the markers are in the system: in the records' values,
// and the client's baggage in their headers, to the end of the chain.
func checkRecords(t *testing.T, brokers string) {
	t.Helper()
	n := recordsOn(t, brokers, banking.TopicPaymentsAuthorized)
	for _, m := range consume(t, brokers, banking.TopicPaymentsAuthorized, int(n)) {
		if !strings.Contains(string(m.Value), markedUser) || !strings.Contains(string(m.Value), markedAmount) {
			t.Errorf("record %s says %s", m.Key, m.Value)
		}
		if got := header(m, "baggage"); got != "tenant="+markedBaggage {
			t.Errorf("record %s has baggage %q", m.Key, got)
		}
	}
}

// mustBeSilentExports looks at every text and number of the spans and log
// records that were sent, but for times and ids.
func mustBeSilentExports(t *testing.T, c *collector) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, sent := range map[string]proto.Message{
		"/v1/traces": &tracepb.ExportTraceServiceRequest{}, "/v1/logs": &logspb.ExportLogsServiceRequest{},
	} {
		if err := proto.Unmarshal(c.bodies[path], sent); err != nil {
			t.Fatal(err)
		}
		texts := said(t, sent)
		for _, expected := range []string{"order-1", "paiement", "authoriser"} { // what a leak would look like
			if !strings.Contains(texts, expected) {
				t.Errorf("%s does not say %q in %d bytes", path, expected, len(texts))
			}
		}
		mustBeSilent(t, path, texts)
	}
}

// said writes every value of a message on a line of its own.
func said(t *testing.T, m proto.Message) string {
	t.Helper()
	var out strings.Builder
	err := protorange.Range(m.ProtoReflect(), func(p protopath.Values) error {
		last := p.Index(-1)
		if last.Step.Kind() == protopath.FieldAccessStep && strings.HasSuffix(string(last.Step.FieldDescriptor().Name()), "_unix_nano") {
			return nil
		}
		switch v := last.Value.Interface().(type) {
		case protoreflect.Message, protoreflect.List, protoreflect.Map:
		case []byte: // an id, or a value of bytes
			if len(v) != 8 && len(v) != 16 {
				fmt.Fprintf(&out, "%s\n", v)
			}
		default:
			fmt.Fprintf(&out, "%v\n", v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The search finds what it is for, in each form that it could take.
func TestPrivacySearchFindsMarkers(t *testing.T) {
	bank.Parallel(t)
	for _, text := range []string{
		`{"user":"` + markedUser + `"}`, "items=[" + markedItem + "]", "baggage " + markedBaggage, "amount=7919.37", "amount 7919,37 EUR", `"cents":791937,`,
	} {
		if !secrets().MatchString(text) {
			t.Errorf("%q is not found", text)
		}
	}
	for _, text := range []string{"order-1", `"trace_id":"1791937f"`, "12:00:05.7919371"} {
		if found := secrets().FindString(text); found != "" {
			t.Errorf("%q is found in %q", found, text)
		}
	}
}
