package otlp_test

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// receiver is a collector that keeps what it is sent.
type receiver struct {
	mu      sync.Mutex
	spans   []*trace.Span
	records []*logs.LogRecord
	service map[string]bool // the resources' service.name
	headers http.Header     // of the last request
	// respond, if set, answers HTTP requests in the receiver's place.
	respond func(w http.ResponseWriter, r *http.Request)
	// partial makes it reject one span and one record of each request.
	partial bool
	// hangs makes it answer gRPC not before the client gives up.
	hangs bool
}

// keepService runs under the lock.
func (c *receiver) keepService(resource []*common.KeyValue) {
	for _, a := range resource {
		if a.Key == "service.name" {
			if c.service == nil {
				c.service = map[string]bool{}
			}
			c.service[a.Value.GetStringValue()] = true
		}
	}
}

func (c *receiver) takeSpans(all *tracepb.ExportTraceServiceRequest) *tracepb.ExportTraceServiceResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range all.ResourceSpans {
		c.keepService(rs.Resource.GetAttributes())
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
	answer := &tracepb.ExportTraceServiceResponse{}
	if c.partial {
		answer.PartialSuccess = &tracepb.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "one is too old"}
	}
	return answer
}

func (c *receiver) takeRecords(all *logspb.ExportLogsServiceRequest) *logspb.ExportLogsServiceResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rl := range all.ResourceLogs {
		c.keepService(rl.Resource.GetAttributes())
		for _, sl := range rl.ScopeLogs {
			c.records = append(c.records, sl.LogRecords...)
		}
	}
	answer := &logspb.ExportLogsServiceResponse{}
	if c.partial {
		answer.PartialSuccess = &logspb.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "one is too old"}
	}
	return answer
}

// ServeHTTP is OTLP over HTTP.
func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.respond != nil {
		c.respond(w, r)
		return
	}
	c.mu.Lock()
	c.headers = r.Header.Clone()
	c.mu.Unlock()
	body, err := readBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer proto.Message
	switch {
	case strings.HasSuffix(r.URL.Path, "/v1/traces"):
		var request tracepb.ExportTraceServiceRequest
		err, answer = proto.Unmarshal(body, &request), c.takeSpans(&request)
	case strings.HasSuffix(r.URL.Path, "/v1/logs"):
		var request logspb.ExportLogsServiceRequest
		err, answer = proto.Unmarshal(body, &request), c.takeRecords(&request)
	default:
		http.NotFound(w, r)
		return
	}
	if err == nil {
		body, err = proto.Marshal(answer)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	zipped, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zipped)
}

// traceService and logsService are OTLP over gRPC; both have a method Export.
type traceService struct {
	tracepb.UnimplementedTraceServiceServer
	*receiver
}

func (s traceService) Export(ctx context.Context, r *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	if s.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.takeSpans(r), nil
}

type logsService struct {
	logspb.UnimplementedLogsServiceServer
	*receiver
}

func (s logsService) Export(_ context.Context, r *logspb.ExportLogsServiceRequest) (*logspb.ExportLogsServiceResponse, error) {
	return s.takeRecords(r), nil
}

// serveHTTP starts the receiver and returns its URL.
func (c *receiver) serveHTTP(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func (c *receiver) serveGRPC(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(server, traceService{receiver: c})
	logspb.RegisterLogsServiceServer(server, logsService{receiver: c})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}
