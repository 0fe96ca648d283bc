// Package demo is a demonstration's traffic: invented customers who order at the
// bank's HTTP edge, look at what became of it and now and then do something wrong,
// so that every panel has something to show. It exists for those who have no
// traffic of their own yet. Whoever starts it has to say that it is one.
//
// script.go has what happens when, as a seed has it; demo.go does it; letters.go
// replays the dead letters of its orders.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	// requestTime bounds a request; the next waits for it.
	requestTime = 10 * time.Second
	// A target that says no rests, longer each time.
	firstRest, longestRest = time.Second, 30 * time.Second
	// letterAge is for how long a dead letter waits for its replay at least: long
	// enough to be seen.
	letterAge = 2 * time.Minute
	// remembered is how many of its latest orders are looked at.
	remembered = 32
	maxAnswer  = 1 << 20
)

// Target is a service, as a client reaches it.
type Target struct {
	URL   string // without a path; "" where it is to be left alone
	Token string // to send along; "" for none
}

// Config says whom to send requests to.
type Config struct {
	Commande, Suivi, Analyseur Target

	// Transport is how requests are sent.
	Transport http.RoundTripper
	// Replay replays the dead letters of the demonstration's orders that were set
	// aside before a time, and returns how many; nil leaves them. See [Letters].
	Replay func(ctx context.Context, before time.Time) (int, error)
	// Seed is what everything follows from that the demonstration decides.
	Seed uint64
	Log  *slog.Logger
}

// Run sends the traffic until ctx ends, whose error it returns. It has one request
// open at a time and a few a second at most. A service that does not answer, or
// says that it cannot now, is left in peace for a while; what the script has for
// it meanwhile is left out, so that nothing piles up.
func Run(ctx context.Context, cfg Config) error {
	d := &demo{Config: cfg, client: &http.Client{Transport: cfg.Transport, Timeout: requestTime}, rests: map[string]*rest{}}
	d.Log.InfoContext(ctx, "a demonstration sends orders that are invented", "seed", cfg.Seed)
	script, start := NewScript(cfg.Seed), time.Now()
	for {
		step := script.Next()
		due := start.Add(step.At)
		if late := time.Since(due); late > time.Second { // the machine slept, or a request hung
			start = start.Add(late)
		} else if err := lifecycle.Sleep(ctx, -late); err != nil {
			return err
		}
		d.do(ctx, step)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// demo is a run.
type demo struct {
	Config
	client *http.Client
	rests  map[string]*rest // by what rests
	orders []string         // the latest, the oldest first
}

// do does one step, and leaves it out where its target rests.
func (d *demo) do(ctx context.Context, step Step) {
	switch step.Kind {
	case Order, Repeat:
		d.with(ctx, "commande", func() error { return d.order(ctx, step) })
	case Wrong:
		d.with(ctx, "commande", func() error {
			_, _, err := d.send(ctx, d.Commande, step.Request)
			return err
		})
	case Look:
		d.look(ctx, step)
	case Replay:
		if d.Replay != nil {
			d.with(ctx, "kafka", func() error { return d.replay(ctx) })
		}
	}
}

// order places an order and, for a [Repeat], asks again as a client does that got
// no answer.
func (d *demo) order(ctx context.Context, step Step) error {
	times := 1
	if step.Kind == Repeat {
		times = 2
	}
	for range times {
		status, body, err := d.send(ctx, d.Commande, step.Request)
		if err != nil {
			return err
		}
		var placed struct{ OrderID string }
		if err := json.Unmarshal(body, &placed); status != http.StatusCreated || err != nil || placed.OrderID == "" {
			return fmt.Errorf("POST /orders is answered with %d", status)
		}
		d.remember(placed.OrderID)
	}
	return nil
}

func (d *demo) remember(order string) {
	if len(d.orders) == remembered {
		d.orders = d.orders[1:]
	}
	d.orders = append(d.orders, order)
}

// look asks what became of an order, or for lists and sums.
func (d *demo) look(ctx context.Context, step Step) {
	name, target, request := "suivi", d.Suivi, step.Request
	switch step.Page {
	case pageStatus:
		if len(d.orders) == 0 {
			return
		}
		request.Path = "/orders/" + d.orders[step.Pick%len(d.orders)] + "/status"
	case pageStatistics:
		name, target = "analyseur", d.Analyseur
	}
	if target.URL != "" {
		d.with(ctx, name, func() error {
			_, _, err := d.send(ctx, target, request)
			return err
		})
	}
}

func (d *demo) replay(ctx context.Context) error {
	n, err := d.Replay(ctx, time.Now().Add(-letterAge))
	if n > 0 {
		d.Log.InfoContext(ctx, "the demonstration replayed dead letters of its orders", "letters", n)
	}
	return err
}

// errNotNow is an answer that asks to be left in peace.
var errNotNow = errors.New("not now")

// send sends a request. Its error is for what should not be asked again soon: no
// answer, one that says that the service cannot, or that we may not.
func (d *demo) send(ctx context.Context, target Target, r Request) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, target.URL+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("User-Agent", "vigie-demo")
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
	if target.Token != "" {
		request.Header.Set("Authorization", "Bearer "+target.Token)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	switch s := response.StatusCode; {
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusUnauthorized, s == http.StatusForbidden:
		return s, body, fmt.Errorf("%w: %s %s is answered with %d", errNotNow, r.Method, r.Path, s)
	default:
		return s, body, nil
	}
}

// rest is how long something is left in peace; the zero value is not at all.
type rest struct {
	until  time.Time
	length time.Duration // of the last one; 0 after a success
}

// with does work with something, unless that rests.
func (d *demo) with(ctx context.Context, what string, work func() error) {
	r := d.rests[what]
	if r == nil {
		r = &rest{}
		d.rests[what] = r
	}
	if time.Now().Before(r.until) {
		return
	}
	err := work()
	switch {
	case ctx.Err() != nil: // the end is no failure
	case err == nil && r.length > 0:
		d.Log.InfoContext(ctx, "the demonstration goes on", "with", what)
		*r = rest{}
	case err != nil:
		if r.length == 0 { // said once
			d.Log.WarnContext(ctx, "the demonstration pauses", "with", what, "error", err)
		}
		r.length = min(max(firstRest, 2*r.length), longestRest)
		r.until = time.Now().Add(r.length)
	}
}
