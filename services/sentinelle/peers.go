package sentinelle

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
)

const (
	// maxAnswer bounds what is read of a service's answer, in bytes.
	maxAnswer = 1 << 20
	// idleTime is how long a connection is kept that nobody uses.
	idleTime = 30 * time.Second
)

// Errors of asking a service.
var (
	errAway    = errors.New("it does not answer")
	errRefused = errors.New("refused")
)

// refusal is an answer other than the one that was wanted.
type refusal struct {
	status int
	text   string // for people
}

func (r *refusal) Error() string { return r.text }
func (*refusal) Unwrap() error   { return errRefused }

// peers asks the services, with the token that they want.
type peers struct {
	client *http.Client
	token  func() string
}

// newPeers makes a client of the services. secured is [service.Surroundings.TLS].
func newPeers(secured func() (*tls.Config, error), token func() string) *peers {
	dialer := &net.Dialer{Timeout: time.Second}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4, IdleConnTimeout: idleTime}
	if secured != nil {
		transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			cfg, err := secured()
			if err != nil {
				return nil, err
			}
			return (&tls.Dialer{NetDialer: dialer, Config: cfg}).DialContext(ctx, network, address)
		}
	}
	return &peers{token: token, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token goes nowhere else
	}}
}

func (p *peers) close() { p.client.CloseIdleConnections() }

// get reads JSON. An answer that says no is a refusal.
func (p *peers) get(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // the addresses are the operator's
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	return p.send(r, into)
}

// post sends JSON under a key, so that it may be sent again.
func (p *peers) post(ctx context.Context, address, key string, document, into any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode for %s: %w", address, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", `"`+key+`"`)
	return p.send(r, into)
}

func (p *peers) send(r *http.Request, into any) error {
	r.Header.Set("Accept", "application/json")
	// A trace begins where its first span is recorded: there, unless here, or where
	// it was decided on before.
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() || span.SpanContext().IsRemote() || !span.SpanContext().IsSampled() {
		propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	}
	if token := p.token(); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := p.client.Do(r) //nolint:gosec // the addresses are the operator's
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the request is known
		}
		return fmt.Errorf("%w: %w", errAway, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refusalOf(response, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("its answer cannot be read: %w", err)
	}
	return nil
}

// refusalOf is what a problem document says, or the status.
func refusalOf(response *http.Response, body []byte) error {
	var problem httpapi.Problem
	if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		return &refusal{response.StatusCode, problem.Detail}
	}
	return &refusal{response.StatusCode, "It answers " + response.Status + "."}
}

// follow has the trace of a request that is about to be sent kept, since somebody
// wants to see it: also where so many begin that this one would be passed over.
func follow(ctx context.Context, source traces.Source) context.Context {
	keeper, ok := source.(interface{ Follow(id string) bool })
	if !ok || trace.SpanFromContext(ctx).IsRecording() { // it is kept already
		return ctx
	}
	var id trace.TraceID
	var span trace.SpanID
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(span[:])
	if !keeper.Follow(id.String()) {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled}))
}

// unsampled is a context whose requests leave no traces: what is asked every
// second would bury those of users.
func unsampled(ctx context.Context) context.Context {
	quiet := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: true})
	return trace.ContextWithSpanContext(ctx, quiet)
}

// peer returns the peer of that name.
func peer(around service.Surroundings, name string) (service.Peer, bool) {
	for _, p := range around.Peers {
		if p.Name == name {
			return p, true
		}
	}
	return service.Peer{}, false
}
