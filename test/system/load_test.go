//go:build !race || whole

package system_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	vigieload "github.com/vigie-dev/vigie/internal/load"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// A load runs against the instance of its folder, shows its token, breaks what it is
// to break, and passes; without a token it does not, and says why.
func TestALoadOfTheWholeSystem(t *testing.T) {
	bank.Parallel(t)
	data, dir := t.TempDir(), t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := write("token", "a-token-that-is-long-enough-for-all-of-them\n")
	bank.Start(t, data, "--commande-tokens-file", token)
	// A slow machine, on which other tests run, is no failure.
	scenario := write("dozens.yaml", `description: a few dozen requests
rate: 50
for: 1200ms
mix: order=5,keyed=2,repeat=1,wrong=1,status=1,list=1,statistics=1
faults: [{name: rejections-vanish, at: 0s, for: 1s}]
timeout: 1m
patience: 3m
want-available: 1
want-latency: 1h
want-visible: 1h
want-growth: 1000
`)
	run := func(args ...string) (vigieload.Report, *bank.Command) {
		p := bank.Launch(t, append([]string{"load", "--data", data, "--scenario", scenario, "--json"}, args...)...)
		<-p.Done
		var r vigieload.Report
		if err := json.Unmarshal([]byte(p.Stdout.String()), &r); err != nil {
			t.Fatalf("%v in %s%s", err, p.Stdout, p.Stderr)
		}
		return r, p
	}
	page := filepath.Join(dir, "report.html")
	r, p := run("--token-file", token, "--html", page)
	if p.Status != 0 || !r.Passed || r.Name != "dozens" || r.Promised.Asked < 20 || r.Journeys.Followed == 0 ||
		len(r.Processes) != 1 || len(r.Processes[0].Services) != 5 || r.Audit == nil || !r.Audit.Clean || len(r.Faults) != 1 {
		t.Errorf("it ended with %d after\n%s%s", p.Status, r.Text(), p.Stderr)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "Load: dozens") || !strings.Contains(string(text), "</html>") {
		t.Errorf("the page is %.200s, %v", text, err)
	}
	r, p = run("--no-audit")
	if p.Status != 1 || r.Passed || r.Audit != nil || r.Promised.Asked != 0 || !strings.Contains(p.Stderr.String(), "not passed; failed: available, answers") ||
		!strings.Contains(r.Text(), "order: answered with 401") {
		t.Errorf("without a token it ended with %d after\n%s%s", p.Status, r.Text(), p.Stderr)
	}
}
