package suivi

import (
	_ "embed" // for the document
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/storage"
)

//go:embed openapi.yaml
var openAPI []byte

// api answers questions about orders.
type api struct {
	store store
	log   *slog.Logger
}

// statusResponse is GET /orders/{id}/status.
type statusResponse struct {
	OrderID     string              `json:"orderId"`
	Status      banking.OrderStatus `json:"status"`
	Details     details             `json:"details"`
	Events      []eventResponse     `json:"events"`
	LastUpdated time.Time           `json:"lastUpdated"`
}

type details struct {
	UserID            string        `json:"userId"`
	Amount            banking.Money `json:"amount"`
	Items             []string      `json:"items"`
	CreatedAt         *time.Time    `json:"createdAt,omitempty"`
	ProcessedAt       *time.Time    `json:"processedAt,omitempty"`
	AuthorizationCode string        `json:"authorizationCode,omitempty"`
	RejectionReason   string        `json:"rejectionReason,omitempty"`
	FailureReason     string        `json:"failureReason,omitempty"`
}

type eventResponse struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
}

// listResponse is GET /orders.
type listResponse struct {
	Orders     []listedOrder `json:"orders"`
	Count      int           `json:"count"`
	TotalCount int64         `json:"totalCount"`
	NextCursor string        `json:"nextCursor,omitempty"`
}

type listedOrder struct {
	OrderID     string              `json:"orderId"`
	UserID      string              `json:"userId"`
	Amount      banking.Money       `json:"amount"`
	Status      banking.OrderStatus `json:"status"`
	CreatedAt   *time.Time          `json:"createdAt,omitempty"`
	LastUpdated time.Time           `json:"lastUpdated"`
}

// serve takes the requests.
func (a *api) serve(router *httpapi.Router) {
	router.Handle("GET /orders", a.list, "cursor", "limit", "status")
	router.HandleProbed("GET /orders/{id}/status", func(r *http.Request) bool { return banking.IsProbe(r.PathValue("id")) }, a.status)
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	v, err := a.store.Order(r.Context(), r.PathValue("id"))
	if storage.IsNotFound(err) {
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.UnknownOrder, Detail: "No such order is known here yet."})
		return
	}
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	response := statusResponse{
		OrderID: v.OrderID, Status: v.Status, LastUpdated: v.UpdatedAt, Events: []eventResponse{},
		Details: details{
			UserID: v.UserID, Amount: v.Amount, Items: v.Items, CreatedAt: known(v.CreatedAt), ProcessedAt: known(v.ProcessedAt),
			AuthorizationCode: v.AuthorizationCode, RejectionReason: v.RejectionReason, FailureReason: v.FailureReason,
		},
	}
	if response.Details.Items == nil {
		response.Details.Items = []string{}
	}
	for _, e := range v.Events {
		response.Events = append(response.Events, eventResponse{e.Type, e.At})
	}
	httpapi.WriteJSON(w, http.StatusOK, response)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	l, refusal := parseListing(r.URL.Query())
	if refusal != nil {
		httpapi.WriteProblem(w, *refusal)
		return
	}
	total, err := a.store.Count(r.Context(), l.after.status)
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	views, more, err := a.store.Page(r.Context(), l)
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	response := listResponse{Orders: make([]listedOrder, len(views)), Count: len(views), TotalCount: total}
	for i, v := range views {
		response.Orders[i] = listedOrder{v.OrderID, v.UserID, v.Amount, v.Status, known(v.CreatedAt), v.UpdatedAt}
	}
	if more {
		response.NextCursor = l.after.after(views[len(views)-1]).String()
	}
	httpapi.WriteJSON(w, http.StatusOK, response)
}

func (a *api) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	a.log.ErrorContext(r.Context(), "storage did not answer", "error", err)
	httpapi.WriteProblem(w, httpapi.Problem{
		Type: httpapi.StorageAway, Detail: "The orders cannot be read at the moment.", RetryAfter: time.Second,
	})
}

// known is nil for a time that nothing has said yet.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

const (
	defaultLimit = 50
	maxLimit     = 500
)

// errCursor says that a cursor is not one that this service gave.
var errCursor = errors.New("unknown cursor")

// cursor names the last order of a page, and the status that the list is of; the
// next page begins after it.
type cursor struct {
	status   banking.OrderStatus
	listedAt int64
	orderID  string
}

// newest stands before the newest order.
func newest(status banking.OrderStatus) cursor { return cursor{status, math.MaxInt64, ""} }

// after is the cursor of the page after the one that ends with an order.
func (c cursor) after(v view) cursor { return cursor{c.status, toMicros(v.ListedAt), v.OrderID} }

// String encodes the cursor for clients, to whom it is opaque.
func (c cursor) String() string {
	place := strconv.FormatInt(c.listedAt, 10) + "/" + c.orderID
	if c.status != "" {
		place = string(c.status) + ":" + place
	}
	return base64.RawURLEncoding.EncodeToString([]byte(place))
}

func parseCursor(text string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return cursor{}, errCursor
	}
	at, id, ok := strings.Cut(string(raw), "/")
	status, micros, ofStatus := strings.Cut(at, ":")
	if !ofStatus {
		status, micros = "", at
	}
	listedAt, err := strconv.ParseInt(micros, 10, 64)
	if !ok || err != nil || id == "" {
		return cursor{}, errCursor
	}
	return cursor{banking.OrderStatus(status), listedAt, id}, nil
}

// parseLimit reads the query's limit; "" is the default.
func parseLimit(text string) (int, error) {
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, fmt.Errorf("limit must be a number from 1 to %d", maxLimit)
	}
	return n, nil
}

// listing is what GET /orders asks for: a page of at most limit orders after the
// cursor, all of them or those of the cursor's status.
type listing struct {
	limit int
	after cursor
}

// parseListing reads the query; what it does not accept is a problem.
func parseListing(query url.Values) (l listing, refusal *httpapi.Problem) {
	refuse := func(field, detail string) (listing, *httpapi.Problem) {
		return listing{}, &httpapi.Problem{Type: httpapi.InvalidRequest, Field: field, Detail: detail}
	}
	var err error
	if l.limit, err = parseLimit(query.Get("limit")); err != nil {
		return refuse("limit", "The "+err.Error()+".")
	}
	status := banking.OrderStatus(query.Get("status"))
	if status != "" && !slices.Contains(banking.OrderStatuses(), status) {
		return refuse("status", fmt.Sprint("The status must be one of ", banking.OrderStatuses(), "."))
	}
	l.after = newest(status)
	if text := query.Get("cursor"); text != "" {
		if l.after, err = parseCursor(text); err != nil || l.after.status != status {
			return refuse("cursor", "The cursor is not one that this service gave for this list; take nextCursor of the page before, with the same status.")
		}
	}
	return l, nil
}
