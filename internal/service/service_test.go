package service

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

func TestReadinessIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		var looks atomic.Int64
		r := telemetrytest.New(t, "shop", Common())
		ready, err := newReadiness(r.Instruments(), func(context.Context) error {
			looks.Add(1)
			if away.Load() {
				return errors.New("storage: away")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := func(when string, value float64) {
			t.Helper()
			if got := r.Metric(readyMetric, nil); got != value {
				t.Errorf("%s service_ready is %v, want %v", when, got, value)
			}
		}
		want("before the first look", 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- ready.run(ctx) }()
		synctest.Wait()
		want("at the start", 1)
		away.Store(true)
		want("before the next look", 1)
		before := looks.Load()
		<-time.After(readyInterval) // the bubble's
		synctest.Wait()
		want("without storage", 0)
		away.Store(false)
		<-time.After(readyInterval)
		synctest.Wait()
		want("with storage again", 1)
		if n := looks.Load() - before; n != 2 {
			t.Errorf("%d looks in two intervals: scrapes must not look", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want("after the stop", 0)
	})
}

func TestTokensThatLeaveTheMachine(t *testing.T) {
	for addresses, want := range map[string]bool{
		"127.0.0.1:3001": false, "[::1]:3001": false, "localhost:3001": false, "127.0.0.1:3001, 127.0.0.2:3001": false,
		":3001": true, "0.0.0.0:3001": true, "192.0.2.1:3001": true, "clerk.example:3001": true, "127.0.0.1:3001,172.17.0.1:3001": true,
	} {
		if got := leavesMachine(addresses); got != want {
			t.Errorf("%s: %v, want %v", addresses, got, want)
		}
	}
}
