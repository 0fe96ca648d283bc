package analyseur

import (
	"context"
	_ "embed" // for the document
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
)

//go:embed openapi.yaml
var openAPI []byte

const (
	defaultRecent = 50
	maxRecent     = 500
)

// api answers questions about the payments decided so far.
type api struct {
	store      store
	log        *slog.Logger
	now        func() time.Time
	started    time.Time
	catchingUp func(context.Context) bool
}

// statisticsResponse is GET /statistics.
type statisticsResponse struct {
	TotalTransactions      int64         `json:"totalTransactions"`
	TotalAmount            banking.Money `json:"totalAmount"`
	AuthorizedTransactions int64         `json:"authorizedTransactions"`
	RejectedTransactions   int64         `json:"rejectedTransactions"`
	AverageAmount          banking.Money `json:"averageAmount"`
	AuthorizationRate      json.Number   `json:"authorizationRate"`
	LastHourCount          int64         `json:"lastHourCount"`
	LastHourAmount         banking.Money `json:"lastHourAmount"`
	Uptime                 int64         `json:"uptime"`
	Timestamp              time.Time     `json:"timestamp"`
	StartTime              time.Time     `json:"startTime"`
	CatchingUp             bool          `json:"catchingUp"`
}

// recentResponse is GET /recent-transactions.
type recentResponse struct {
	Transactions []recentTransaction `json:"transactions"`
	Count        int                 `json:"count"`
}

type recentTransaction struct {
	OrderID     string        `json:"orderId"`
	UserID      string        `json:"userId"`
	Amount      banking.Money `json:"amount"`
	Status      string        `json:"status"`
	ProcessedAt time.Time     `json:"processedAt"`
}

// serve takes the requests.
func (a *api) serve(router *httpapi.Router) {
	router.Handle("GET /statistics", a.statistics)
	router.Handle("GET /recent-transactions", a.recent, "limit")
}

func (a *api) statistics(w http.ResponseWriter, r *http.Request) {
	// Read before the sums are read: what is still missed is then not in them.
	catchingUp := a.catchingUp(r.Context())
	now := a.now().UTC()
	s, err := a.store.Statistics(r.Context(), now)
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	all, rate := s.all(), s.authorizationRate()
	httpapi.WriteJSON(w, http.StatusOK, statisticsResponse{
		TotalTransactions: all.count, TotalAmount: all.amount,
		AuthorizedTransactions: s.authorized.count, RejectedTransactions: s.rejected.count,
		AverageAmount: s.average(), AuthorizationRate: json.Number(fmt.Sprintf("%d.%02d", rate/100, rate%100)),
		LastHourCount: s.lastHour.count, LastHourAmount: s.lastHour.amount,
		Uptime: int64(now.Sub(a.started).Seconds()), Timestamp: now, StartTime: a.started.UTC(),
		CatchingUp: catchingUp,
	})
}

// average is the mean amount in cents, rounded half up; 0 where there is none.
func (s statistics) average() banking.Money {
	all := s.all()
	if all.count == 0 {
		return 0
	}
	n := banking.Money(all.count)
	return all.amount/n + (all.amount%n+n/2)/n // adds nothing to a sum near its bound
}

// authorizationRate is the share of authorised payments in hundredths of a
// percent, rounded half up; 0 where nothing was decided.
func (s statistics) authorizationRate() int64 {
	all := s.all().count
	if all == 0 {
		return 0
	}
	return (s.authorized.count*10_000 + all/2) / all
}

func (a *api) recent(w http.ResponseWriter, r *http.Request) {
	limit := defaultRecent
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxRecent {
			httpapi.WriteProblem(w, httpapi.Problem{
				Type: httpapi.InvalidRequest, Field: "limit",
				Detail: fmt.Sprintf("The limit must be a number from 1 to %d.", maxRecent),
			})
			return
		}
		limit = n
	}
	transactions, err := a.store.Recent(r.Context(), limit)
	if err != nil {
		a.unavailable(w, r, err)
		return
	}
	response := recentResponse{Transactions: make([]recentTransaction, len(transactions)), Count: len(transactions)}
	for i, t := range transactions {
		response.Transactions[i] = recentTransaction{t.OrderID, t.UserID, t.Amount, t.Status, t.ProcessedAt}
	}
	httpapi.WriteJSON(w, http.StatusOK, response)
}

func (a *api) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	a.log.ErrorContext(r.Context(), "storage did not answer", "error", err)
	httpapi.WriteProblem(w, httpapi.Problem{
		Type: httpapi.StorageAway, Detail: "The statistics cannot be read at the moment.", RetryAfter: time.Second,
	})
}
