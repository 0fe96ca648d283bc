//go:build unix

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	clients = 8
	// ackTimeout is how long commande waits for Kafka.
	ackTimeout = 2 * time.Second
	// maxRequests bounds the load of a round, whatever the fault.
	maxRequests = 15_000
	// maxPause is the longest that a client waits after an answer; half of it
	// is usual.
	maxPause = 80 * time.Millisecond
	// refusedPause is how long a client waits that got no order.
	refusedPause = 100 * time.Millisecond
	// clientPatience is how long a client waits for an answer. It is longer
	// than commande takes to give up.
	clientPatience = 2*ackTimeout + time.Second
	maxAnswer      = 64 << 10
	// maxCents is the most that an order is of.
	maxCents = 500_000
)

// reply is what a client knows about one request.
type reply struct {
	Request string // the order's userId, which no other request has
	Cents   int64
	Status  int                 // 0: no response came
	Problem httpapi.ProblemType // of a response that is none
	OrderID string
	EventID string
	Sent    time.Time
	Key     string // the Idempotency-Key, or ""
}

// load is clients that place orders and remember the responses.
type load struct {
	url    string
	http   *http.Client
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	sent    int
	replies []reply
	acked   int
	changed chan struct{} // closed and replaced by every answer
}

// startLoad has clients place orders until [load.stop].
func startLoad(url string, seed uint64) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{url: url, cancel: cancel, changed: make(chan struct{}), http: &http.Client{
		Timeout: clientPatience, Transport: &http.Transport{MaxIdleConnsPerHost: clients},
	}}
	for c := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(c))) //nolint:gosec // repeatable on purpose
		l.group.Go(func() {
			for n := 0; l.more(ctx); n++ {
				a := reply{Request: fmt.Sprintf("client-%d-%d", c, n), Cents: 1 + random.Int64N(maxCents)}
				if random.IntN(2) == 0 {
					a.Key = a.Request
				}
				l.place(a)
				pause := time.Duration(random.Int64N(int64(maxPause)))
				if !l.lastWasTaken() {
					pause += refusedPause
				}
				_ = lifecycle.Sleep(ctx, pause)
			}
		})
	}
	return l
}

// more says whether to go on, and counts the request.
func (l *load) more(ctx context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	return ctx.Err() == nil && l.sent <= maxRequests
}

// place posts one order.
func (l *load) place(a reply) {
	a = l.post(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replies = append(l.replies, a)
	if a.Status == http.StatusCreated {
		l.acked++
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// post sends an order and returns what its client knows afterwards. Its context
// is not the load's: what has been sent is waited for, so that the log cannot
// hold an order that nobody sent.
func (l *load) post(a reply) reply {
	a.Sent, a.Status = time.Now(), 0
	body := fmt.Sprintf(`{"userId":%q,"amount":%s,"items":["item"]}`, a.Request, euros(a.Cents))
	request, err := http.NewRequest(http.MethodPost, l.url+"/orders", strings.NewReader(body)) //nolint:noctx // see above
	if err != nil {
		return a
	}
	request.Header.Set("Content-Type", "application/json")
	if a.Key != "" {
		request.Header.Set("Idempotency-Key", a.Key)
	}
	response, err := l.http.Do(request)
	if err != nil {
		return a
	}
	defer func() { _ = response.Body.Close() }()
	var placed struct{ OrderID, EventID string }
	a.Status = response.StatusCode
	var problem httpapi.Problem
	decoder := json.NewDecoder(io.LimitReader(response.Body, maxAnswer))
	if a.Status != http.StatusCreated {
		_ = decoder.Decode(&problem) // without a type the client knows the status alone
	} else if decoder.Decode(&placed) != nil {
		a.Status = 0 // cut off: the client knows nothing
	}
	a.OrderID, a.EventID, a.Problem = placed.OrderID, placed.EventID, problem.Type
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return a
}

// maxAsked bounds the requests that are repeated, of each kind.
const maxAsked = 40

// askAgain repeats requests of after a moment under their keys. One that was
// acknowledged has to get its first answer again, and one whose outcome its
// client does not know gets an answer now, for the one order that it stands for.
func (l *load) askAgain(ctx context.Context, since time.Time, random *rand.Rand) error {
	for _, i := range l.toRepeat(since, random) {
		l.mu.Lock()
		first := l.replies[i]
		l.mu.Unlock()
		again := l.post(first)
		for again.Status != http.StatusCreated && lifecycle.Sleep(ctx, refusedPause) == nil {
			again = l.post(first)
		}
		unlike := again.OrderID != first.OrderID || again.EventID != first.EventID
		if again.Status != http.StatusCreated || first.Status == http.StatusCreated && unlike {
			return fmt.Errorf("%w: %+v, and then %+v", errOtherAnswer, first, again)
		}
		l.mu.Lock()
		l.replies[i] = again
		l.mu.Unlock()
	}
	l.http.CloseIdleConnections()
	return nil
}

// toRepeat chooses some of the requests with keys, by their place among the replies.
func (l *load) toRepeat(since time.Time, random *rand.Rand) (chosen []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var known, unknown int
	for _, i := range random.Perm(len(l.replies)) {
		count := &unknown
		if l.replies[i].Status == http.StatusCreated {
			count = &known
		}
		if a := l.replies[i]; a.Key != "" && !a.Sent.Before(since) && *count < maxAsked {
			*count++
			chosen = append(chosen, i)
		}
	}
	return chosen
}

// errOtherAnswer: a request was answered otherwise than before, under its key.
var errOtherAnswer = errors.New("a request that was repeated under its key got another answer")

// euros writes cents as clients send them.
func euros(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

func (l *load) lastWasTaken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.replies) > 0 && l.replies[len(l.replies)-1].Status == http.StatusCreated
}

// acknowledged is how many orders were.
func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// errSpent: the load's bound came before what was waited for.
var errSpent = errors.New("the load is spent")

// await waits until n orders have been acknowledged.
func (l *load) await(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		acked, over, changed := l.acked, l.sent > maxRequests, l.changed
		l.mu.Unlock()
		if acked >= n {
			return nil
		}
		if over {
			return fmt.Errorf("%w: %d orders were acknowledged, waited for %d", errSpent, acked, n)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d orders were acknowledged, waited for %d: %w", acked, n, ctx.Err())
		}
	}
}

// stop ends the load and returns the clients' replies.
func (l *load) stop() []reply {
	l.cancel()
	l.group.Wait()
	l.http.CloseIdleConnections()
	return l.replies
}

// cents reads an amount with at most two decimals, exactly.
func cents(n json.Number) (int64, error) {
	euros, part, _ := strings.Cut(n.String(), ".")
	if euros == "" || len(part) > 2 {
		return 0, fmt.Errorf("amount %q is not one of at most two decimals", n)
	}
	sum, err := strconv.ParseInt(euros+(part + "00")[:2], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("amount %q is not a number: %w", n, err)
	}
	return sum, nil
}

// shown is what suivi shows of an order.
type shown struct {
	Status banking.OrderStatus
	Cents  int64
	Events []string // types
}

// totals is what analyseur says.
type totals struct {
	Transactions, Authorized, Rejected int64
	Cents                              int64
}

// views are what suivi and analyseur show their clients.
type views struct {
	Suivi map[string]shown // by order
	// SuiviTotal is how many orders suivi says there are.
	SuiviTotal int64
	Totals     totals
}

// readViews gets everything that the services show of the orders.
func readViews(ctx context.Context, suivi, analyseur string, ids []string) (v views, err error) {
	client := &http.Client{Timeout: recovery, Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer client.CloseIdleConnections()
	if v.Suivi, v.SuiviTotal, err = viewOrders(ctx, client, suivi, ids); err != nil {
		return v, err
	}
	v.Totals, err = viewTotals(ctx, client, analyseur)
	return v, err
}

// readers query suivi at once.
const readers = 4

// viewOrders gets every order from suivi, one by one as a client would, and
// for their number.
func viewOrders(ctx context.Context, client *http.Client, suivi string, ids []string) (map[string]shown, int64, error) {
	var list struct{ TotalCount int64 }
	if _, err := getJSON(ctx, client, suivi+"/orders?limit=1", &list); err != nil {
		return nil, 0, err
	}
	out := map[string]shown{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, id := range ids {
		group.Go(func() error {
			s, found, err := viewOrder(ctx, client, suivi, id)
			if err == nil && found {
				mu.Lock()
				out[id] = s
				mu.Unlock()
			}
			return err
		})
	}
	return out, list.TotalCount, group.Wait()
}

func viewOrder(ctx context.Context, client *http.Client, suivi, id string) (shown, bool, error) {
	var o struct {
		OrderID string
		Status  banking.OrderStatus
		Details struct{ Amount json.Number }
		Events  []struct{ Type string }
	}
	status, err := getJSON(ctx, client, suivi+"/orders/"+id+"/status", &o)
	if status == http.StatusNotFound {
		return shown{}, false, nil
	}
	if err != nil {
		return shown{}, false, err
	}
	amount, err := cents(o.Details.Amount)
	if err != nil || o.OrderID != id {
		return shown{}, false, fmt.Errorf("%s: suivi shows %+v: %w", id, o, err)
	}
	s := shown{Status: o.Status, Cents: amount}
	for _, e := range o.Events {
		s.Events = append(s.Events, e.Type)
	}
	return s, true, nil
}

// viewTotals gets the totals from analyseur.
func viewTotals(ctx context.Context, client *http.Client, analyseur string) (totals, error) {
	var s struct {
		TotalTransactions, AuthorizedTransactions, RejectedTransactions int64
		TotalAmount                                                     json.Number
	}
	if _, err := getJSON(ctx, client, analyseur+"/statistics", &s); err != nil {
		return totals{}, err
	}
	amount, err := cents(s.TotalAmount)
	return totals{s.TotalTransactions, s.AuthorizedTransactions, s.RejectedTransactions, amount}, err
}

// getJSON reads a document; a status other than 200 is an error beside it.
func getJSON(ctx context.Context, client *http.Client, url string, into any) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, fmt.Errorf("read %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, fmt.Errorf("GET %s = %d: %s", url, response.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return response.StatusCode, fmt.Errorf("GET %s: %w in %s", url, err, body)
	}
	return response.StatusCode, nil
}

// counted is what an instance of sentinelle says of the orders.
type counted struct {
	Outcomes map[journeys.Outcome]int64
	// Known says whether it knows what waits: orders, and dead letters.
	Known            bool
	Waiting, Letters int64
}

// readJourneys reads the metrics of an instance.
func readJourneys(ctx context.Context, url string) (counted, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return counted{}, fmt.Errorf("read the journeys: %w", err)
	}
	client := &http.Client{Timeout: clientPatience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return counted{}, fmt.Errorf("read the journeys: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	page, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return counted{}, fmt.Errorf("read the journeys at %s: %w", url, err)
	}
	c := counted{Outcomes: map[journeys.Outcome]int64{}}
	for _, m := range page[journeys.JourneysTotal].GetMetric() {
		c.Outcomes[journeys.Outcome(label(m, "outcome"))] += int64(m.GetCounter().GetValue())
	}
	for _, m := range page[journeys.OrdersWaiting].GetMetric() {
		c.Known, c.Waiting = true, int64(m.GetGauge().GetValue())
	}
	for _, m := range page[journeys.LettersWaiting].GetMetric() {
		c.Letters += int64(m.GetGauge().GetValue())
	}
	return c, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
