package suivi

import (
	_ "embed" // for the document
	"log/slog"
	"net/http"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/storage"
)

//go:embed openapi.yaml
var openAPI []byte

// api answers questions about orders.
type api struct {
	store *storage.Store
	log   *slog.Logger
}

// statusAnswer is GET /orders/{id}/status.
type statusAnswer struct {
	OrderID     string              `json:"orderId"`
	Status      banking.OrderStatus `json:"status"`
	Details     details             `json:"details"`
	Events      []eventAnswer       `json:"events"`
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

type eventAnswer struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
}

// listAnswer is GET /orders.
type listAnswer struct {
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

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	v, err := scanView(a.store.QueryRow(r.Context(), selectOrder, r.PathValue("id")))
	if storage.IsNotFound(err) {
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.UnknownOrder, Detail: "No such order is known here yet."})
		return
	}
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	answer := statusAnswer{
		OrderID: v.OrderID, Status: v.Status, LastUpdated: v.UpdatedAt, Events: []eventAnswer{},
		Details: details{
			UserID: v.UserID, Amount: v.Amount, Items: v.Items, CreatedAt: known(v.CreatedAt), ProcessedAt: known(v.ProcessedAt),
			AuthorizationCode: v.AuthorizationCode, RejectionReason: v.RejectionReason, FailureReason: v.FailureReason,
		},
	}
	if answer.Details.Items == nil {
		answer.Details.Items = []string{}
	}
	for _, e := range v.Events {
		answer.Events = append(answer.Events, eventAnswer{e.Type, e.At})
	}
	httpapi.WriteJSON(w, http.StatusOK, answer)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	limit, err := parseLimit(r.URL.Query().Get("limit"))
	if err != nil {
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.InvalidRequest, Detail: "The " + err.Error() + ".", Field: "limit"})
		return
	}
	after, err := parseCursor(r.URL.Query().Get("cursor"))
	if err != nil {
		httpapi.WriteProblem(w, httpapi.Problem{
			Type: httpapi.InvalidRequest, Detail: "The cursor is not one that this service gave; take nextCursor of the page before.", Field: "cursor",
		})
		return
	}
	var answer listAnswer
	if err := a.store.QueryRow(r.Context(), selectCount).Scan(&answer.TotalCount); err != nil {
		a.unavailable(w, r, err)
		return
	}
	views, more, err := page(r.Context(), a.store, after, limit)
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	answer.Orders, answer.Count = make([]listedOrder, len(views)), len(views)
	for i, v := range views {
		answer.Orders[i] = listedOrder{v.OrderID, v.UserID, v.Amount, v.Status, known(v.CreatedAt), v.UpdatedAt}
	}
	if more {
		answer.NextCursor = cursorAfter(views[len(views)-1]).String()
	}
	httpapi.WriteJSON(w, http.StatusOK, answer)
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
