package faults

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// light is a fault that notes whether it is in force.
func light(on *atomic.Bool) Fault {
	return Fault{Name: "light", Does: "It is dark.", Run: func(ctx context.Context, inForce func()) error {
		on.Store(true)
		inForce()
		<-ctx.Done()
		on.Store(false)
		return nil
	}}
}

// A fault ends when it is stopped, when its time is up, and with the system.
func TestAFaultEnds(t *testing.T) {
	for name, end := range map[string]func(context.Context, *Switches) error{
		"by a stop": func(ctx context.Context, s *Switches) error {
			was, err := s.Stop(ctx, "light")
			if !was {
				err = errors.New("was not in force")
			}
			return err
		},
		"by a stop of all": func(ctx context.Context, s *Switches) error {
			stopped, err := s.StopAll(ctx)
			if !slices.Equal(stopped, []string{"light"}) {
				err = errors.New("stopped something else")
			}
			return err
		},
		"by its time": func(context.Context, *Switches) error {
			_ = lifecycle.Sleep(context.Background(), DefaultLength+time.Second) // of the bubble
			return nil
		},
		"with the system": func(ctx context.Context, s *Switches) error { return s.Close(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var on atomic.Bool
				rec := telemetrytest.New(t, "sentinelle", Catalogue())
				s := New(rec.Logger(), light(&on))
				registration, err := s.Measure(rec.Instruments())
				if err != nil {
					t.Fatal(err)
				}
				inForce := func() float64 { return rec.Metric(metricInForce, map[string]string{"fault": "light"}) }
				if inForce() != 0 {
					t.Error("in force before it was started")
				}
				status, err := s.Start(t.Context(), "light", 0)
				if err != nil || !status.InForce || status.Until.Sub(status.Since) != DefaultLength || !on.Load() || inForce() != 1 {
					t.Fatalf("%+v, %v, in force %v", status, err, inForce())
				}
				if _, err := s.Start(t.Context(), "light", 0); !errors.Is(err, ErrInForce) {
					t.Errorf("started twice: %v", err)
				}
				if err := end(t.Context(), s); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if on.Load() || inForce() != 0 || len(s.InForce()) != 0 {
					t.Errorf("on %v, metric %v, %v", on.Load(), inForce(), s.InForce())
				}
				var told []string
				for _, line := range rec.Logs() {
					told = append(told, line["level"].(string)+" "+strings.SplitN(line["msg"].(string), ":", 2)[0])
				}
				if want := []string{"WARN fault in force", "WARN fault ended"}; !slices.Equal(told, want) {
					t.Errorf("logs %q, want %q", told, want)
				}
				if err := registration.Unregister(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	broken := errors.New("no such lamp")
	s := New(slog.New(slog.DiscardHandler), Fault{Name: "lamp", Run: func(context.Context, func()) error { return broken }})
	for name, tt := range map[string]struct {
		fault  string
		length time.Duration
		want   error
	}{
		"unknown":          {"moon", 0, ErrUnknown},
		"too long":         {"lamp", MaxLength + 1, ErrLength},
		"too short":        {"lamp", MinLength - 1, ErrLength},
		"backwards":        {"lamp", -time.Minute, ErrLength},
		"cannot be broken": {"lamp", 0, broken},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Start(t.Context(), tt.fault, tt.length); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if len(s.InForce()) != 0 {
				t.Error("in force all the same")
			}
		})
	}
	if was, err := s.Stop(t.Context(), "lamp"); was || err != nil {
		t.Errorf("stopped what was not in force: %v, %v", was, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Start(t.Context(), "lamp", 0); !errors.Is(err, ErrClosed) {
		t.Errorf("started after the end: %v", err)
	}
}

// behind starts a server that answers each byte with the next one, behind a gate.
func behind(t *testing.T, g *Gate) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gated := g.Before(l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := gated.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					b[0]++
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = gated.Close(); <-done })
	return l.Addr().String()
}

// answers asks over a new connection and reports the answer, or that there is none.
func answers(t *testing.T, address string) <-chan error {
	t.Helper()
	answer := make(chan error, 1)
	c, err := net.Dial("tcp", address)
	if err != nil { // a connection may be broken before it is known here
		answer <- err
		return answer
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		_, err := c.Write([]byte{7})
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		answer <- err
	}()
	return answer
}

// A gate that is away breaks connections, a frozen one keeps them without an answer,
// and both let everything through once they are open again.
func TestAGate(t *testing.T) {
	g := NewGate()
	address := behind(t, g)
	if err := <-answers(t, address); err != nil {
		t.Fatal(err)
	}
	g.set(mode{away: true})
	if err := <-answers(t, address); err == nil {
		t.Error("answers while it is away")
	}
	g.set(mode{frozen: true})
	waiting := answers(t, address)
	select {
	case err := <-waiting:
		t.Errorf("answers while it is frozen: %v", err)
	case <-time.After(50 * time.Millisecond): // a gate that does not freeze answers in less
	}
	g.set(mode{delay: time.Millisecond})
	if err := <-waiting; err != nil {
		t.Errorf("what waited is not answered: %v", err)
	}
	g.set(mode{})
	kept, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	b := []byte{1}
	if _, err := kept.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Read(b); err != nil || b[0] != 2 {
		t.Fatalf("%v, %d", err, b[0])
	}
	g.set(mode{away: true})
	if _, err := kept.Read(b); err == nil {
		t.Error("a connection outlives its server")
	}
}
