package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	clients = 8
	// ackTimeout is how long commande waits for Kafka.
	ackTimeout = 2 * time.Second
	// maxRequests bounds the load of a round, whatever the fault.
	maxRequests = 6000
	// maxPause is the longest that a client waits after an answer; half of it
	// is usual.
	maxPause = 80 * time.Millisecond
	// refusedPause is how long a client waits that got no order.
	refusedPause = 100 * time.Millisecond
	// clientPatience is how long a client waits for an answer. It is longer
	// than commande takes to give up.
	clientPatience = 2*ackTimeout + time.Second
	maxAnswer      = 64 << 10
)

// load is clients that place orders and remember what they were told.
type load struct {
	url    string
	http   *http.Client
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	asked   int
	answers []answer
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
				l.place(fmt.Sprintf("client-%d-%d", c, n), 1+random.Int64N(500_000))
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
	l.asked++
	return ctx.Err() == nil && l.asked <= maxRequests
}

// place posts one order. Its context is not the load's: what has been sent is
// waited for, so that the log cannot hold an order that nobody sent.
func (l *load) place(request string, amount int64) {
	a := answer{Request: request, Cents: amount}
	body := fmt.Sprintf(`{"userId":%q,"amount":%s,"items":["item"]}`, request, euros(amount))
	response, err := l.http.Post(l.url+"/orders", "application/json", strings.NewReader(body)) //nolint:noctx // see above
	if err == nil {
		var placed struct{ OrderID, EventID string }
		a.Status = response.StatusCode
		if a.Status == http.StatusCreated {
			err = json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&placed)
		}
		if err != nil {
			a.Status = 0 // cut off: the client knows nothing
		}
		a.OrderID, a.EventID = placed.OrderID, placed.EventID
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
		_ = response.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, a)
	if a.Status == http.StatusCreated {
		l.acked++
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *load) lastWasTaken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answers) > 0 && l.answers[len(l.answers)-1].Status == http.StatusCreated
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
		acked, over, changed := l.acked, l.asked > maxRequests, l.changed
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

// stop ends the load and returns what the clients were told.
func (l *load) stop() []answer {
	l.cancel()
	l.group.Wait()
	l.http.CloseIdleConnections()
	return l.answers
}
