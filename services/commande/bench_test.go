package commande

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// BenchmarkOrder is all that commande itself does for an order, from net/http's
// request to its answer, but for Kafka: ids, telemetry and log line included, with
// nothing exported. What net/http and sarama do is not in it.
func BenchmarkOrder(b *testing.B) {
	for _, format := range []string{telemetry.LogText, telemetry.LogJSON} {
		b.Run(format, func(b *testing.B) {
			handler := benchShop(b, format)
			const body = `{"userId":"user123","amount":100.50,"items":["item1","item2"]}`
			text := strings.NewReader(body)
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://127.0.0.1/orders", io.NopCloser(text))
			if err != nil {
				b.Fatal(err)
			}
			r.ContentLength = int64(len(body))
			r.Header.Set("Content-Type", "application/json")
			given, w := *r, &unread{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				text.Reset(body)
				*r = given
				clear(w.header)
				handler.ServeHTTP(w, r)
				if w.status != http.StatusCreated {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// benchShop is commande as a service has it, before a broker that answers at once.
func benchShop(b *testing.B, format string) http.Handler {
	b.Helper()
	t, err := telemetry.Setup(b.Context(), telemetry.Config{Service: Name, Catalogue: slices.Concat(Catalogue(), service.Common()), LogWriter: io.Discard, LogFormat: format})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.Shutdown(context.Background()) })
	instrument, err := otelkafka.New(otelkafka.WithTelemetry(t), otelkafka.Options{Produces: []string{banking.TopicOrdersCreated}})
	if err != nil {
		b.Fatal(err)
	}
	store := reopen(b, "sqlite:"+b.TempDir())
	b.Cleanup(func() { closed(b, store) })
	log := httpapi.LogRequestIDs(t.Logger())
	lines, err := service.NewOrderLog(b.Context(), log, t.Instruments(), 0)
	if err != nil {
		b.Fatal(err)
	}
	o := &orders{
		keys:      &keys{store: store, ids: &ids{store: store}, log: log, lease: leaseOfTests, now: time.Now},
		publisher: atOnce{}, instrument: instrument, log: log, lines: lines, ackTimeout: patience,
	}
	if err := o.prepare(b.Context(), t.Instruments()); err != nil {
		b.Fatal(err)
	}
	router := httpapi.NewRouter(httpapi.Config{Service: Name, Version: "test", Metrics: t.MetricsHandler(), Ready: &httpapi.Readiness{}, Log: log})
	router.HandleProbed("POST /orders", func(r *http.Request) bool { return o.probes.claimed(r) }, o.create)
	return httpapi.Identify(telemetry.HTTPMiddleware(t, httpapi.Route)(router))
}

// atOnce is a publisher that has every record at once.
type atOnce struct{}

func (atOnce) Publish(context.Context, *sarama.ProducerMessage) error { return nil }

// unread is an answer that nobody reads, as net/http's server would have it.
type unread struct {
	header http.Header
	status int
}

func (u *unread) Header() http.Header                          { return u.header }
func (u *unread) WriteHeader(status int)                       { u.status = status }
func (u *unread) Write(b []byte) (int, error)                  { return len(b), nil }
func (u *unread) WriteString(text string) (int, error)         { return len(text), nil }
func (u *unread) ReadFrom(src io.Reader) (int64, error)        { return io.Copy(io.Discard, src) }
func (u *unread) Flush()                                       {}
func (u *unread) FlushError() error                            { return nil }
func (u *unread) CloseNotify() <-chan bool                     { return nil }
func (u *unread) SetReadDeadline(time.Time) error              { return nil }
func (u *unread) SetWriteDeadline(time.Time) error             { return nil }
func (u *unread) EnableFullDuplex() error                      { return nil }
func (u *unread) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, http.ErrNotSupported }
