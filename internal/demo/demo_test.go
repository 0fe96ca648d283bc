package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// bank is the services in place of a network, so that time is synctest's.
type bank struct {
	answer func(*http.Request) (status int, body string, err error)
	seen   []seen
	start  time.Time
}

type seen struct {
	at     time.Duration
	host   string
	method string
	path   string
	token  string
	body   string
}

func (b *bank) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.seen = append(b.seen, seen{time.Since(b.start), r.URL.Host, r.Method, r.URL.Path, r.Header.Get("Authorization"), string(body)})
	status, text, err := b.answer(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// well answers as services do that are well.
func well(r *http.Request) (int, string, error) {
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json" {
		return http.StatusCreated, `{"orderId":"order-1"}`, nil
	}
	return http.StatusOK, `{}`, nil
}

// run runs a demonstration for a time in a bubble, and returns what it logged.
func run(t *testing.T, b *bank, cfg Config, length time.Duration) string {
	t.Helper()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		cfg.Commande, cfg.Suivi, cfg.Analyseur = Target{"http://commande", "secret"}, Target{URL: "http://suivi"}, Target{URL: "http://analyseur"}
		cfg.Transport, cfg.Log = b, slog.New(slog.NewTextHandler(&log, nil))
		b.start = time.Now()
		if err := Run(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
		if d := time.Since(b.start); d != length {
			t.Errorf("it ended after %v, not after %v", d, length)
		}
	})
	return log.String()
}

// count counts the requests to a host at a time.
func (b *bank) count(host string, from, to time.Duration) (n int) {
	for _, s := range b.seen {
		if s.host == host && s.at >= from && s.at < to {
			n++
		}
	}
	return n
}

func TestItKeepsToItsScript(t *testing.T) {
	b := &bank{answer: well}
	log := run(t, b, Config{Seed: 7}, day)
	if !strings.Contains(log, "invented") || strings.Contains(log, "WARN") {
		t.Errorf("the log is:\n%s", log)
	}
	want := 0
	for _, step := range days(7, 1) {
		switch step.Kind {
		case Repeat:
			want += 2
		case Order, Wrong, Look:
			want++
		case Replay: // none to do it
		}
	}
	if got := len(b.seen); got != want {
		t.Errorf("%d requests, want %d", got, want)
	}
	for _, host := range []string{"commande", "suivi", "analyseur"} {
		if b.count(host, 0, day) == 0 {
			t.Errorf("%s is not asked", host)
		}
	}
	for _, s := range b.seen {
		if (s.host == "commande") != (s.token == "Bearer secret") {
			t.Fatalf("%+v has the wrong token", s)
		}
	}
}

// A service that says no is left in peace, longer and longer up to half a minute,
// while the others go on; nothing piles up for it.
func TestItBacksOff(t *testing.T) {
	for name, refuse := range map[string]func() (int, string, error){
		"unavailable": func() (int, string, error) { return http.StatusServiceUnavailable, "", nil },
		"too many":    func() (int, string, error) { return http.StatusTooManyRequests, "", nil },
		"no token":    func() (int, string, error) { return http.StatusUnauthorized, "", nil },
		"away":        func() (int, string, error) { return 0, "", errors.New("connection refused") },
	} {
		t.Run(name, func(t *testing.T) {
			const ill, wellAgain = 2 * time.Minute, 7 * time.Minute
			b := &bank{}
			b.answer = func(r *http.Request) (int, string, error) {
				if at := time.Since(b.start); r.URL.Host == "commande" && at >= ill && at < wellAgain {
					return refuse()
				}
				return well(r)
			}
			log := run(t, b, Config{Seed: 1}, 12*time.Minute)
			if n := b.count("commande", ill, wellAgain); n < 5 || n > 17 {
				t.Errorf("%d requests in five minutes in which it says no", n)
			}
			if n := b.count("suivi", ill, wellAgain); n < 5 {
				t.Errorf("%d requests to suivi meanwhile", n)
			}
			if n := b.count("commande", wellAgain+longestRest, wellAgain+longestRest+time.Minute); n < 20 || n > 120 {
				t.Errorf("%d requests in a minute once it is well again", n)
			}
			if strings.Count(log, "pauses") != 1 || strings.Count(log, "goes on") != 1 {
				t.Errorf("the log is:\n%s", log)
			}
		})
	}
}

// After a request that hung, or a machine that slept, it does not hurry.
func TestNothingPilesUp(t *testing.T) {
	b := &bank{}
	const hang = 4 * time.Minute
	hung := false
	b.answer = func(r *http.Request) (int, string, error) {
		if !hung && time.Since(b.start) > time.Minute {
			hung = true
			_ = lifecycle.Sleep(r.Context(), hang)
		}
		return well(r)
	}
	run(t, b, Config{Seed: 1}, 10*time.Minute)
	for i := range b.seen[1:] {
		one, next := b.seen[i], b.seen[i+1]
		if repeated := next.body != "" && next.body == one.body; next.at-one.at < shortest && !repeated {
			t.Fatalf("%v and %v", one, next)
		}
	}
}

func TestLettersAreReplayedAfterAWhile(t *testing.T) {
	var asked []time.Duration
	b := &bank{answer: well}
	log := run(t, b, Config{Replay: func(_ context.Context, before time.Time) (int, error) {
		asked = append(asked, before.Sub(b.start))
		if len(asked) == 2 {
			return 0, errors.New("Kafka is away") //nolint:revive // a name
		}
		return 1, nil
	}}, 10*time.Minute)
	if len(asked) != 3 || asked[0] < replayEvery-letterAge || asked[0] > replayEvery-letterAge+time.Minute {
		t.Errorf("letters from before %v were replayed", asked)
	}
	if strings.Count(log, "replayed dead letters") != 2 || !strings.Contains(log, "Kafka is away") {
		t.Errorf("the log is:\n%s", log)
	}
}
