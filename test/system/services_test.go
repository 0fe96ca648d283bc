//go:build !race || whole

package system_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// archive is a service that docs/architecture.md shows how to add: it reads
// the payments that were decided. It has no tables, since it keeps nothing.
type archive struct{ seen chan string }

func (archive) Load(context.Context, []record.Record) (struct{}, error) { return struct{}{}, nil }

func (archive) Handle(_ context.Context, _ struct{}, r record.Record) (string, []record.Message, error) {
	return string(r.Key), nil, nil
}

func (archive) Store(context.Context, *storage.Tx, []delivery.Decided[string]) error { return nil }

func (a archive) Stored(decided []delivery.Decided[string]) {
	for _, d := range decided {
		a.seen <- d.Change
	}
}

func (a archive) definition() service.Definition {
	return service.Definition{
		Name: "archive", Does: "keep a copy of what was decided", Address: "127.0.0.1:3999", Group: "archive-svc",
		Consumes: []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected},
		Produces: []string{banking.TopicPaymentsDLQ},
		Wire: func(ctx context.Context, b *service.Base) error {
			return service.Consume(ctx, b, delivery.LoopConfig{Concurrency: 1, BatchSize: 500}, a)
		},
	}
}

func (a archive) start(ctx context.Context, run services.Run) (*service.Service, error) {
	if shelf := run.Flags.String("archive-shelf"); shelf != "top" {
		return nil, fmt.Errorf("archive's flag says %q", shelf)
	}
	return service.Start(ctx, run.Settings, a.definition())
}

// A consumer service that is added to the registry is run, queried, looked at and
// reset by the commands like the others: they know none by name.
func TestAServiceIsAddedInTheRegistry(t *testing.T) {
	bank.Parallel(t)
	a := archive{seen: make(chan string, 10)}
	registry := append(services.All(), services.Service{
		Definition: a.definition(), Start: a.start, Example: "curl {url}/shelves",
		Flags: func() []cli.Flag { return []cli.Flag{&cli.StringFlag{Name: "archive-shelf"}} },
	})
	s := bank.StartWith(t, registry, t.TempDir(), "--archive-shelf", "top")
	archiveURL := s.URLs["archive"]
	if welcome := s.Program.Stdout.String(); !strings.Contains(welcome, "\n  curl "+archiveURL+"/shelves\n") {
		t.Errorf("its example is not shown:\n%s", welcome)
	}
	placed := s.MustOrder(t, "1")
	if got := <-a.seen; got != placed.OrderID {
		t.Errorf("it read %s, want %s", got, placed.OrderID)
	}
	s.Settled(t, 1) // by analyseur, whose group is another
	if status, page := bank.Get(t, archiveURL+"/metrics"); status != http.StatusOK ||
		!strings.Contains(page, `service="archive",topic="payments.`) || !strings.Contains(page, `process_uptime_seconds{service="archive"}`) {
		t.Errorf("GET /metrics = %d:\n%s", status, page)
	}

	var addresses []string
	for name, url := range s.URLs {
		addresses = append(addresses, "--"+name+"-addr", strings.TrimPrefix(url, "http://"))
	}
	addresses = append(addresses, "--archive-addr", strings.TrimPrefix(archiveURL, "http://"))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{append([]string{"health", "--timeout", "10m"}, addresses...), " " + archiveURL},
		{append([]string{"doctor", "--timeout", "10m", "--services-only"}, addresses...), "ok     archive is ready and shows its metrics at " + archiveURL},
		{[]string{"archive", "--help"}, "keep a copy of what was decided"},
		{[]string{"archive", "--help"}, "127.0.0.1:3999"},
		{[]string{"archive", "--help"}, "--kafka-session-timeout"},
		{[]string{"up", "--help"}, "sentinelle and archive"},
		{[]string{"reset", "--help"}, "archive read the topics from their start"},
	} {
		p := bank.LaunchWith(t, registry, tt.args...)
		<-p.Done
		if text := p.Stdout.String(); p.Status != 0 || !strings.Contains(text, tt.want) {
			t.Errorf("vigie %v = %d: %s%s; want %q", tt.args, p.Status, text, p.Stderr, tt.want)
		}
	}
}

// A service that was added runs alone too, and a reset has it read everything
// once more.
func TestAnAddedServiceIsResetWithTheOthers(t *testing.T) {
	bank.Parallel(t)
	a := archive{seen: make(chan string, 10)}
	registry := slices.Concat(services.All(), services.Registry{{
		Definition: a.definition(),
		Start: func(ctx context.Context, run services.Run) (*service.Service, error) {
			return service.Start(ctx, run.Settings, a.definition())
		},
	}})
	data := t.TempDir()
	s := bank.StartWith(t, registry, data)
	id := s.MustOrder(t, "1").OrderID
	if got := <-a.seen; got != id {
		t.Errorf("it read %s, want %s", got, id)
	}
	s.Settled(t, 1)
	s.Program.Stop()
	reset := bank.LaunchWith(t, registry, "reset", "--yes", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-reset.Done
	if reset.Status != 0 {
		t.Fatalf("reset = %d: %s", reset.Status, reset.Stderr)
	}

	broker := bank.Launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	alone := bank.LaunchWith(t, registry, "archive", "--data", data, "--kafka-brokers", address, "--archive-addr", "127.0.0.1:0", "--log-level", "error")
	if alone.Stdout.Wait(t, `archive answers at http`, alone.Done) == nil {
		t.Fatalf("vigie archive ended with %d:\n%s", alone.Status, alone.Stderr)
	}
	if got := <-a.seen; got != id {
		t.Errorf("after the reset it read %s, want %s again", got, id)
	}
	if status := alone.Stop(); status != 0 {
		t.Errorf("exit status %d: %s", status, alone.Stderr)
	}
}
