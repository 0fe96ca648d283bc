package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// Target is a service, as a client reaches it.
type Target struct {
	URL   string // without a path
	Token string // to send along; "" for none
}

const (
	// maxAnswer bounds what is read of one answer.
	maxAnswer = 4 << 20
	// remembered is how many of the latest orders a [Status] chooses from.
	remembered = 1024
)

// sender sends requests when they are due, whether or not earlier ones have been
// answered: an open model, as independent users are.
type sender struct {
	cfg    *Config
	client *http.Client
	start  time.Time
	script *script
	seen   *record
	follow *follower
	kept   *promises

	slots chan struct{} // one for each request under way
	turns [3]atomic.Uint64

	mu     sync.Mutex
	latest []string          // ids of orders, the oldest first
	byKey  map[string]string // ids of keyed orders that a repeat may name, by key
	keys   []string          // the oldest first
}

func newSender(cfg *Config, client *http.Client, seen *record, follow *follower, kept *promises, run string) *sender {
	return &sender{
		cfg: cfg, client: client, seen: seen, follow: follow, kept: kept,
		script: newScript(cfg.Mix, cfg.Seed, cfg.Users, run), slots: make(chan struct{}, cfg.InFlight), byKey: map[string]string{},
	}
}

// run sends until the schedule ends, or ctx does, and returns when every request
// has its answer or its time is up.
// It says whether that was the schedule's end.
func (s *sender) run(ctx context.Context, schedule *Schedule, stop func(due time.Duration) bool) (ended bool) {
	var all sync.WaitGroup
	defer all.Wait()
	under := context.WithoutCancel(ctx) // what is under way is finished, within its time-out
	for {
		due, ok := schedule.Next()
		if !ok || stop(due) {
			return !ok
		}
		if lifecycle.Sleep(ctx, time.Until(s.start.Add(due))) != nil {
			return false
		}
		r := s.script.next()
		if !s.slot(ctx, due) {
			if ctx.Err() != nil {
				return false
			}
			s.seen.unsent(r.Kind, due)
			continue
		}
		all.Go(func() {
			defer func() { <-s.slots }()
			s.one(under, r, due)
		})
	}
}

// slot takes a place among the requests under way. Where all are taken it waits, but
// for no longer than a request may take: what is later than that is not sent at all,
// so that what is owed to the schedule stays bounded.
func (s *sender) slot(ctx context.Context, due time.Duration) bool {
	select {
	case s.slots <- struct{}{}:
		s.seen.underWay(len(s.slots), false)
		return true
	default:
	}
	s.seen.underWay(cap(s.slots), true)
	left := s.cfg.Timeout - time.Since(s.start.Add(due))
	if left <= 0 {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// one sends a request and records what came of it.
func (s *sender) one(ctx context.Context, r request, due time.Duration) {
	sent := time.Since(s.start)
	target, path := s.address(r)
	status, body, err := s.send(ctx, target, r, path)
	done := time.Since(s.start)
	result := judge(r.Kind, status, err)
	if r.Kind.Orders() && status == http.StatusCreated && err == nil {
		result = s.accepted(r, body, due)
	}
	s.seen.add(outcome{kind: r.Kind, due: due, sent: sent, done: done, result: result, status: status, err: err})
}

// address is where a request goes: to each of a service's targets in turn. There is
// one: see [Config.check].
func (s *sender) address(r request) (t Target, path string) {
	service, all, path := 0, s.cfg.Commande, r.Path
	switch r.Kind {
	case Status, List:
		service, all = 1, s.cfg.Suivi
	case Statistics:
		service, all = 2, s.cfg.Analyseur
	}
	if r.Kind == Status {
		s.mu.Lock()
		if len(s.latest) == 0 {
			path = "/orders?limit=20" // nothing to ask about yet
		} else {
			path = "/orders/" + url.PathEscape(s.latest[r.pick%uint64(len(s.latest))]) + "/status"
		}
		s.mu.Unlock()
	}
	return all[(s.turns[service].Add(1)-1)%uint64(len(all))], path
}

// send sends a request, within its time.
func (s *sender) send(ctx context.Context, target Target, r request, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, r.Method, target.URL+path, bytes.NewReader(r.Body))
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	for name, value := range r.Header {
		q.Header.Set(name, value)
	}
	return answer(s.client, q, target.Token)
}

// answer sends a request with a token and reads the answer.
func answer(client *http.Client, q *http.Request, token string) (status int, body []byte, err error) {
	q.Header.Set("User-Agent", "vigie-load")
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, nil, fmt.Errorf("read the answer: %w", err)
	}
	return response.StatusCode, body, nil
}

// judge says what an answer is worth.
func judge(kind Kind, status int, err error) result {
	refused := status >= 400 && status < 500 && status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusTooManyRequests
	switch {
	case err != nil, status >= 500:
		return failed
	case kind == Wrong && refused:
		return good
	case kind == Wrong:
		return unexpected
	case kind == Repeat && status == http.StatusConflict: // the first is still under way
		return good
	case kind == Status && status == http.StatusNotFound: // not visible yet; what is missing is found in the end
		return good
	case kind.Orders() && status == http.StatusCreated, !kind.Orders() && status == http.StatusOK:
		return good
	default:
		return unexpected
	}
}

// accepted remembers an order that was promised.
func (s *sender) accepted(r request, body []byte, due time.Duration) result {
	var placed struct{ OrderID string }
	if json.Unmarshal(body, &placed) != nil || placed.OrderID == "" || len(placed.OrderID) > maxID {
		return unexpected
	}
	id := placed.OrderID
	s.kept.add(id)
	if r.Kind != Repeat {
		s.follow.offer(id, time.Now(), due)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.latest) == remembered {
		s.latest = s.latest[1:]
	}
	s.latest = append(s.latest, id)
	if r.key == "" {
		return good
	}
	if first, known := s.byKey[r.key]; known && first != id {
		return unexpected // one key, two orders
	} else if !known {
		if len(s.keys) == 2*keyed {
			delete(s.byKey, s.keys[0])
			s.keys = s.keys[1:]
		}
		s.byKey[r.key], s.keys = id, append(s.keys, r.key)
	}
	return good
}
