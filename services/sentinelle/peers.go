package sentinelle

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
)

const (
	// maxAnswer bounds what is read of a service's answer, in bytes.
	maxAnswer = 1 << 20
	// idleTime is how long a connection is kept that nobody uses.
	idleTime = 30 * time.Second
)

// Errors of asking a service.
var (
	errAway    = i18n.Errorf("it does not answer")
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
	token  func() secret.Value
}

// openPeers makes a client of the services until sentinelle stops.
func openPeers(b *service.Base, cfg Config) (*peers, error) {
	token, err := b.OpenToken("the token for the services", secret.Value{}, cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	p := newPeers(cfg.Around.TLS, token)
	b.Stack.OnStop("connections to the services", func(context.Context) error { p.client.CloseIdleConnections(); return nil })
	return p, nil
}

// newPeers makes a client of the services. secured is [service.Surroundings.TLS].
func newPeers(secured func() (*tls.Config, error), token func() secret.Value) *peers {
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

// get reads JSON. An answer that says no is a refusal.
func (p *peers) get(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // the addresses are the operator's
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	return p.send(r, into)
}

func (p *peers) send(r *http.Request, into any) error {
	r.Header.Set("Accept", "application/json")
	// A trace begins where its first span is recorded: there, unless here, or where
	// it was decided on before.
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() || span.SpanContext().IsRemote() || !span.SpanContext().IsSampled() {
		propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	}
	if token := p.token(); token.Present() {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	response, err := p.client.Do(r) //nolint:gosec // the addresses are the operator's
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the request is known
		}
		return i18n.Errorf("%w: %w", errAway, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, maxAnswer))
	if err != nil {
		return i18n.Errorf("%w: %w", errAway, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refusalOf(response, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return i18n.Errorf("its answer cannot be read: %w", err)
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

// The services that take and show orders.
const (
	taker  = "commande"
	shower = "suivi"
)

// errNobody: no service to ask is known.
var errNobody = i18n.Errorf("no service is known that does this")

// orderQuery is which orders are asked for.
type orderQuery struct {
	Status, Cursor string
	Limit          int
}

// orderList is a page of orders.
type orderList struct {
	Orders     []Order
	TotalCount int
	NextCursor string
}

// orders asks suivi for a page of orders.
func (p *peers) orders(ctx context.Context, around service.Surroundings, q orderQuery) (orderList, error) {
	var list orderList
	from, known := peer(around, shower)
	if !known {
		return list, i18n.Errorf("list orders: %w", errNobody)
	}
	values := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Status != "" {
		values.Set("status", q.Status)
	}
	if q.Cursor != "" {
		values.Set("cursor", q.Cursor)
	}
	if err := p.get(ctx, from.URL+"/orders?"+values.Encode(), &list); err != nil {
		return list, i18n.Errorf("%s cannot be asked for orders: %w", shower, err)
	}
	return list, nil
}

// Story is what is known of one order.
type Story struct {
	OrderID string `json:"orderId"`
	Status  string `json:"status"`
	Details struct {
		UserID            string        `json:"userId"`
		Amount            banking.Money `json:"amount"`
		Items             []string      `json:"items"`
		AuthorizationCode string        `json:"authorizationCode"`
		RejectionReason   string        `json:"rejectionReason"`
		FailureReason     string        `json:"failureReason"`
	} `json:"details"`
	Events []struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"events"`
	LastUpdated time.Time `json:"lastUpdated"`
}

// decided says whether its payment is, for good.
func (s Story) decided() bool { return banking.OrderStatus(s.Status).Decided() }

// errUnknownOrder: suivi knows no such order, or not yet.
var errUnknownOrder = i18n.Errorf("no such order is known")

// story asks suivi for one order.
func (p *peers) story(ctx context.Context, around service.Surroundings, id string) (Story, error) {
	var s Story
	from, known := peer(around, shower)
	if !known {
		return s, i18n.Errorf("show an order: %w", errNobody)
	}
	err := p.get(ctx, from.URL+"/orders/"+url.PathEscape(id)+"/status", &s)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound {
		return s, errUnknownOrder
	}
	if err != nil {
		return s, i18n.Errorf("%s cannot be asked for the order: %w", shower, err)
	}
	return s, nil
}
