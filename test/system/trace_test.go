//go:build !race || whole

package system_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// tracing runs the trace command to its end.
func tracing(t *testing.T, brokers, suivi, jaeger string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := bank.Launch(t, append([]string{"trace", "--kafka-brokers", brokers, "--suivi-url", suivi, "--jaeger-url", jaeger, "--timeout", "10m"}, args...)...)
	<-p.Done
	return p.Status, p.Stdout.String(), p.Stderr.String()
}

// mustTrace runs a trace command that has to succeed, and returns its output.
func mustTrace(t *testing.T, s *bank.Bank, jaeger string, args ...string) string {
	t.Helper()
	status, stdout, stderr := tracing(t, s.Brokers, s.Suivi, jaeger, args...)
	if status != 0 || stderr != "" {
		t.Fatalf("vigie trace %v = %d: %s%s", args, status, stdout, stderr)
	}
	if strings.Contains(stdout, "user123") || strings.Contains(stdout, "item1") || strings.Contains(stdout, "17.25") {
		t.Errorf("the story names the user, an item or the amount:\n%s", stdout)
	}
	return stdout
}

// jaeger answers as Jaeger does: one trace, or that it knows none.
func jaeger(t *testing.T, knows func(id string) bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/api/traces/")
		if !knows(id) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}`)
			return
		}
		const tags = `[{"key":"userId","type":"string","value":"user123"},{"key":"http.response.status_code","type":"int64","value":201}]`
		fmt.Fprintf(w, `{"data":[{"traceID":"%[1]s","spans":[
			{"traceID":"%[1]s","spanID":"b","operationName":"process orders.created","references":[{"refType":"CHILD_OF","traceID":"%[1]s","spanID":"a"}],
			 "startTime":1795451998874000,"duration":2000,"processID":"p2","tags":[]},
			{"traceID":"%[1]s","spanID":"a","operationName":"POST /orders","startTime":1795451998873000,"duration":4000,"processID":"p1","tags":%[2]s}],
			"processes":{"p1":{"serviceName":"commande"},"p2":{"serviceName":"paiement"}}}]}`, id, tags)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// away is a URL where nobody answers: no test gets a port that low.
const away = "http://127.0.0.1:1"

// matches fails unless the whole text matches the pattern.
func matches(t *testing.T, what, text, pattern string) []string {
	t.Helper()
	const ending = `(?:\n?(?:It (?:is|waits)|Nothing failed) [^\n]*\n(?:Next: [^\n]+\n)?)?` // why it is where it is: see the stories of package traces
	found := regexp.MustCompile(`^(?s:` + pattern + `)` + ending + `$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("%s reads\n%s\nwant %s", what, text, pattern)
	}
	return found
}

const (
	tracedHead  = `order-1  PAYMENT_(?:AUTHORIZED|REJECTED)\ntrace ([0-9a-f]{32})  20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC\n`
	tracedStory = `\n    0 ms  commande  OrderCreated +orders\.created/(\d/\d+)\n` +
		` *[0-9.]+ m?s  paiement  └ Payment(?:Authorized|Rejected) +payments\.(?:authorized|rejected)/\d/\d+\n`
)

// One order's story: by its records where Jaeger is away or has nothing, by
// its spans where it has.
func TestAnOrderIsTraced(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--log-level", "error")
	s.MustOrder(t, "17.25")
	s.MustOrder(t, "17.25")
	s.Decided(t, "order-1")

	nobody := away
	text := mustTrace(t, s, nobody, "order-1")
	id := matches(t, "without Jaeger", text, tracedHead+`from Kafka's records: Jaeger at `+regexp.QuoteMeta(nobody)+
		` does not answer: connection refused\n`+tracedStory+`\nTo see every span, .*PROFILES=tracing.*OTEL_TRACES_EXPORTER=otlp\.\n`)[1]

	knows := jaeger(t, func(trace string) bool { return trace == id })
	spans := `commande  POST /orders +0 ms  █+   4\.00 ms  201\npaiement  └ process orders\.created +1\.00 ms +█+ +2\.00 ms\n`
	matches(t, "with Jaeger", mustTrace(t, s, knows, "order-1"), tracedHead+`2 spans of 2 services in 4\.00 ms\n\n`+spans)
	for _, argument := range []string{id, strings.ToUpper(id), "00-" + id + "-00f067aa0ba902b7-01"} { // Kafka is not used
		status, out, errs := tracing(t, "127.0.0.1:1", nobody, knows+"/", argument)
		matches(t, fmt.Sprintf("trace %s = %d%s", argument, status, errs), out, `trace `+id+`  .* UTC\n2 spans of 2 services in 4\.00 ms\n\n`+spans)
	}
	matches(t, "with a Jaeger that has lost it", mustTrace(t, s, jaeger(t, func(string) bool { return false }), "order-1"),
		tracedHead+`from Kafka's records: Jaeger at \S+ does not know the trace\n`+tracedStory+`\nIt is not there: [^\n]*for others\.\n(Spans may also be on their way: [^\n]*\n)?To see every span, .*\n`)
	matches(t, "without Jaeger's URL", mustTrace(t, s, "", "order-1"), tracedHead+`from Kafka's records: Jaeger is not used\n`+tracedStory)

	status, out, errs := tracing(t, s.Brokers, nobody, "", "order-1")
	if status != 0 || errs != "" {
		t.Errorf("without suivi = %d: %s", status, errs)
	}
	matches(t, "without suivi", out, `order-1\ntrace `+id+`  .*: Jaeger is not used\n`+tracedStory+
		`\nsuivi at `+regexp.QuoteMeta(nobody)+` does not answer \(connection refused\): the whole log was read\.\n`)

	report := jsonLines(t, mustTrace(t, s, knows, "--json", "order-1"))[0]
	if report["source"] != "jaeger" || report["traceId"] != id || len(report["spans"].([]any)) != 2 || len(report["records"].([]any)) != 2 {
		t.Errorf("--json: %v", report)
	}
	if text := mustTrace(t, s, knows, "--limit", "1", "order-1"); !strings.Contains(text, "201\nand 1 span more; --limit shows more of them\n\nIt is ") {
		t.Errorf("--limit 1:\n%s", text)
	}
}

// Where there is no story there is an error of one line, and status 1.
func TestWhatCannotBeTraced(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--log-level", "error")
	s.MustOrder(t, "17.25")
	s.Decided(t, "order-1")
	empty := bank.Launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	bare := empty.Stdout.Wait(t, `listens on (\S+)`, empty.Done)[1]
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	nobody, knowsNone := away, jaeger(t, func(string) bool { return false })
	for name, tt := range map[string]struct {
		status                 int
		brokers, suivi, jaeger string
		args                   []string
		want                   string
	}{
		"an unknown order":               {1, s.Brokers, s.Suivi, nobody, []string{"order-77"}, "order-77: no such order: orders.created has no record of it"},
		"an unknown order without suivi": {1, s.Brokers, nobody, nobody, []string{"order-77"}, "no such order"},
		"no broker":                      {1, "127.0.0.1:1", s.Suivi, nobody, []string{"--kafka-patience", bank.OneTry, "order-1"}, "KAFKA_BROKERS"},
		"no topics":                      {1, bare, s.Suivi, nobody, []string{"order-1"}, "`vigie topics` creates the topics"},
		"a bad broker":                   {2, "nowhere", s.Suivi, nobody, []string{"order-1"}, "host:port"},
		"an unknown trace":               {1, s.Brokers, s.Suivi, knowsNone, []string{id}, "does not know the trace " + id + ": its spans were passed over while many orders came, never sent, left out by sampling, or"},
		"a trace without Jaeger":         {1, s.Brokers, s.Suivi, nobody, []string{id}, "does not answer: connection refused; start one with `vigie up`, or set --page-url (VIGIE_PAGE_URL) or --jaeger-url (VIGIE_JAEGER_URL)"},
		"a trace and no Jaeger wanted":   {2, s.Brokers, s.Suivi, "", []string{id}, "only a running instance or Jaeger can find a trace by its id; start one with"},
		"no order":                       {2, s.Brokers, s.Suivi, nobody, nil, "trace takes one order's id"},
		"two orders":                     {2, s.Brokers, s.Suivi, nobody, []string{"order-1", "order-2"}, "trace takes one order's id"},
		"an empty order":                 {2, s.Brokers, s.Suivi, nobody, []string{" "}, "want an order's id"},
		"no order's id":                  {2, s.Brokers, s.Suivi, nobody, []string{"../metrics"}, "want an order's id"},
		"a long id":                      {2, s.Brokers, s.Suivi, nobody, []string{strings.Repeat("o", 129)}, "want an order's id"},
		"a bad limit":                    {2, s.Brokers, s.Suivi, nobody, []string{"--limit", "-1", "order-1"}, "not negative"},
		"an unknown flag":                {2, s.Brokers, s.Suivi, nobody, []string{"--nonsense", "order-1"}, "nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := tracing(t, tt.brokers, tt.suivi, tt.jaeger, tt.args...)
			if status != tt.status || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("status %d: %s%s; want one line with %q", status, stdout, stderr, tt.want)
			}
		})
	}
}

// An order that failed, and one that a replay had decided, stay one story.
func TestAReplayedOrderIsTraced(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 1)
	const letter = `    0 ms  commande   ?OrderCreated +orders\.created/1/0\n` +
		` *[0-9.]+ m?s  paiement   ?└ set aside: authoriser +orders\.dlq/1/0 +tried 3 times`
	matches(t, "a failed order", mustTrace(t, s, "", "order-1"), `order-1  PAYMENT_FAILED\n.*not used\n\n`+letter+`, waits\n`)
	s.Program.Stop()

	s = bank.Start(t, data, "--log-level", "error")
	mustDLQ(t, s.Brokers, "replay", "--all-letters")
	s.Settled(t, 1)
	s.Decided(t, "order-1")
	replayed := letter + `\n *[0-9.]+ m?s  vigie dlq    └ OrderCreated, replayed +orders\.created/1/1\n` +
		` *[0-9.]+ m?s  paiement       └ Payment(?:Authorized|Rejected) +payments\.(?:authorized|rejected)/1/0\n`
	matches(t, "a replayed order", mustTrace(t, s, "", "order-1"), tracedHead+`.*not used\n\n`+replayed)
}

// A trace that was not sampled is known by its own flag.
func TestAnOrderThatWasNotSampled(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--log-level", "error")
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Commande+"/orders", strings.NewReader(`{"userId":"user123","amount":17.25,"items":["item1"]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("traceparent", "00-"+id+"-00f067aa0ba902b7-00")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	s.Decided(t, "order-1")
	text := mustTrace(t, s, jaeger(t, func(string) bool { return false }), "order-1")
	matches(t, "an order that was not sampled", text,
		tracedHead+`from Kafka's records: the trace was not sampled, its traceparent says so\n`+tracedStory)
	if !strings.Contains(text, id) {
		t.Errorf("it is not in the client's trace:\n%s", text)
	}
}

// suivi only says where to look: whatever it answers, an order that is in the
// log is found.
func TestWhateverSuiviSays(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--log-level", "error")
	s.MustOrder(t, "17.25")
	s.Decided(t, "order-1")
	const never = `"events":[{"type":"OrderCreated","timestamp":"2099-01-02T03:04:05Z"}]`
	for name, tt := range map[string]struct {
		status         int
		body           string
		head, lastLine string
	}{
		"another time":   {200, `{"status":"PAYMENT_AUTHORIZED",` + never + `}`, `order-1  PAYMENT_AUTHORIZED\n`, ""},
		"another status": {200, `{"status":"\u001b[31m",` + never + `}`, `order-1\n`, ""},
		"not yet":        {404, `{}`, `order-1\n`, `\nsuivi does not know the order yet: the whole log was read\.\n`},
		"not now":        {503, `{}`, `order-1\n`, `\nsuivi at \S+ does not answer \(status 503\): the whole log was read\.\n`},
		"nothing of it":  {200, `<html>`, `order-1\n`, `\nsuivi at \S+ does not answer \(not as suivi does\): the whole log was read\.\n`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/base/orders/order-1/status" {
					t.Errorf("asked for %s", r.URL)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer server.Close()
			status, out, errs := tracing(t, s.Brokers, server.URL+"/base/", "", "order-1")
			if status != 0 || errs != "" {
				t.Errorf("status %d: %s", status, errs)
			}
			matches(t, "the story", out, tt.head+`trace [0-9a-f]{32}  .* UTC\nfrom Kafka's records: Jaeger is not used\n`+tracedStory+tt.lastLine)
		})
	}
	knows := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"PAYMENT_AUTHORIZED",`+never+`}`)
	}))
	defer knows.Close()
	status, out, errs := tracing(t, s.Brokers, knows.URL, "", "order-77")
	if status != 1 || out != "" || !strings.Contains(errs, "order-77: no such order in Kafka any more: suivi knows it, but retention has deleted its records") {
		t.Errorf("an order that is gone = %d: %s%s", status, out, errs)
	}
	status, _, errs = tracing(t, s.Brokers, "no URL", "", "order-1")
	if status != 0 || errs != "" {
		t.Errorf("no URL of suivi = %d: %s", status, errs)
	}
}

// The first signal ends it, whatever it waits for.
func TestTracingStopsAtOnce(t *testing.T) {
	bank.Parallel(t)
	requested := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(requested)
		<-r.Context().Done()
	}))
	defer silent.Close()
	p := bank.Launch(t, "trace", "--jaeger-url", silent.URL, "4bf92f3577b34da6a3ce929d0e0e4736")
	<-requested
	if status := p.Stop(); status != 1 || !strings.Contains(p.Stderr.String(), "interrupted before it was done") {
		t.Errorf("status %d: %s", status, p.Stderr)
	}
}
