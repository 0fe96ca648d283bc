//go:build !race || whole

package system_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// tool runs a command to its end, which has to be well, and returns what it wrote.
func tool(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	p := bank.Launch(t, args...)
	<-p.Done
	if p.Status != 0 {
		t.Errorf("vigie %v ended with %d:\n%s%s", args, p.Status, p.Stdout, p.Stderr)
	}
	return p.Stdout.String()
}

// groupsOfTheInstance has the groups shown by the command, by sentinelle, and by
// the command without it; all say that the bank's groups are well.
func groupsOfTheInstance(t *testing.T, s *bank.Bank, data string) {
	t.Helper()
	running, err := instance.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range [][]string{{"--data", data}, {"--kafka-brokers", strings.Join(running.Kafka, ",")}} {
		bank.Eventually(t, func() error {
			var list struct {
				Groups []struct{ Group, State, Evidence string }
			}
			out := tool(t, append([]string{"groups", "--json"}, where...)...)
			if err := json.Unmarshal([]byte(out), &list); err != nil {
				return err
			}
			well := 0
			for _, g := range list.Groups {
				if (g.State == "ok" || g.State == "idle") && strings.Contains(g.Evidence, "nothing waits") {
					well++
				}
			}
			if well < 3 {
				return fmt.Errorf("%d groups are well in %s", well, out)
			}
			return nil
		})
		if out := tool(t, append([]string{"groups", "paiement-svc"}, where...)...); !strings.Contains(out, "orders.created/0") || !strings.Contains(out, "paiement") {
			t.Errorf("one group:\n%s", out)
		}
	}
	if out := tool(t, "groups", "--data", data); !strings.Contains(out, "suivi-svc") || !strings.Contains(out, "1 of 1 brokers answered") {
		t.Errorf("all groups:\n%s", out)
	}
	for path, want := range map[string]int{"/groups": http.StatusOK, "/groups/paiement-svc": http.StatusOK, "/groups/nobody": http.StatusNotFound} {
		if status, body := bank.Get(t, s.URLs["sentinelle"]+path); status != want {
			t.Errorf("GET %s = %d %s", path, status, body)
		}
	}
}

// Tools find the instance by its data folder, wherever its ports are: the broker,
// the services, and the traces that it keeps.
func TestToolsFindTheInstance(t *testing.T) {
	if testproc.Integration {
		t.Skip("it is about the embedded broker")
	}
	t.Parallel()
	data := t.TempDir()
	s := bank.Start(t, data)
	traceID := mustPlace(t, s)
	s.Settled(t, 1)
	tool(t, "health", "--data", data)
	tool(t, "audit", "--data", data)
	if out := tool(t, "dlq", "list", "--data", data); out == "" {
		t.Error("dlq list says nothing")
	}
	bank.Eventually(t, func() error { // the last spans end after the statistics show the order
		out := tool(t, "trace", "order-1", "--data", data)
		for _, want := range []string{"trace " + traceID, "11 spans of 4 services", "POST /orders", "process payments.", "It is ", "curl " + s.Suivi + "/orders/order-1/status"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in\n%s", want, out)
			}
		}
		return nil
	})
	out := tool(t, "trace", "order-1", "--json", "--data", data)
	var report struct {
		Source, Reason, Next string
		Spans                []struct{ Service string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Source != "instance" || len(report.Spans) != 11 || report.Reason == "" || report.Next == "" {
		t.Errorf("%v in %s", err, out)
	}
	if out := tool(t, "trace", traceID, "--data", data); !strings.Contains(out, "Nothing failed in it.") {
		t.Errorf("the trace by its id:\n%s", out)
	}
	if status, page := bank.Get(t, s.URLs["sentinelle"]+"/orders/order-1"); status != http.StatusOK || strings.Count(page, "<rect x=") != 11 || !strings.Contains(page, "POST /orders") {
		t.Errorf("the order's page, %d, has no waterfall:\n%s", status, page)
	}
	if status, body := bank.Get(t, s.URLs["sentinelle"]+"/traces/order-99"); status != http.StatusNotFound || !strings.Contains(body, "passed over") {
		t.Errorf("GET /traces/order-99 = %d %s", status, body)
	}
	groupsOfTheInstance(t, s, data)
	if body, err := os.ReadFile(filepath.Join(data, "instance.json")); err != nil || strings.Contains(string(body), "user123") {
		t.Errorf("the instance's file: %v %s", err, body)
	}
	s.Program.Stop()
	if _, err := instance.Read(data); err == nil {
		t.Error("after its stop the instance is still there")
	}
}

// --port-base moves what has no address of its own.
func TestPortsMoveTogether(t *testing.T) {
	if testproc.Integration {
		t.Skip("it is about the embedded broker")
	}
	data, base := t.TempDir(), 0
	var p *bank.Command
	for started := false; !started; { // another program may take a port between the look for it and its use
		base = freeBase(t)
		p = bank.Launch(t, "up", "--port-base", strconv.Itoa(base), "--data", data, "--suivi-addr", "127.0.0.1:0", "--log-format", "json", "--stop-timeout", "10m")
		started = p.Stdout.Wait(t, "Ctrl-C", p.Done) != nil
		if !started && !strings.Contains(p.Stderr.String(), "in use by another process") {
			t.Fatalf("vigie up ended with %d:\n%s", p.Status, p.Stderr)
		}
	}
	i, err := instance.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int) string { return "127.0.0.1:" + strconv.Itoa(base+n) }
	for name, got := range map[string][2]string{
		"Kafka":      {i.Kafka[0], at(92)},
		"Prometheus": {i.Prometheus, "http://" + at(90)},
		"commande":   {i.URL("commande"), "http://" + at(1)},
		"the page":   {i.Page, "http://" + at(5)},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is at %s, want %s", name, got[0], got[1])
		}
	}
	if i.URL("suivi") == "http://"+at(2) {
		t.Errorf("suivi is at %s, although it has an address of its own", i.URL("suivi"))
	}
	p.Stop()
}

// freeBase finds a base whose ports nobody has, above those of [testproc.FreeAddress] and below those that
// systems give to outgoing connections. It begins anywhere, since another run of the tests may look too.
func freeBase(t *testing.T) int {
	t.Helper()
	const first, apart, bases = 30_000, 100, 27
	for _, n := range rand.Perm(bases) {
		base, free := first+n*apart, true
		for _, n := range []int{1, 2, 3, 4, 5, 90, 92} {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+n))
			if free = free && err == nil; err == nil {
				_ = l.Close()
			}
		}
		if free {
			return base
		}
	}
	t.Skip("no free ports")
	return 0
}
