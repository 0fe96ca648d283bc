//go:build !race

package brokertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// The programs in telemetry/examples do what they say: each is built and run.
func TestExamples(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./examples/...")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	for _, example := range []struct {
		name string
		args []string
		says []string
	}{
		{"produce", nil, []string{"sent to offset 2 in trace "}},
		{"partitions", nil, []string{"offset 0, trace ", "offset 2, trace "}},
		{"consume", []string{"-records", "3"}, []string{"metrics are at http://127.0.0.1:", "records of partition 0"}},
		{"server", nil, []string{
			"baskets_total 1", `http_requests_total{method="POST",route="/baskets/{id}",service="server",status_code="201"} 1`,
		}},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, example.name), example.args...)
		cmd.Env = append(os.Environ(), "KAFKA_BROKERS="+strings.Join(cluster.ListenAddrs(), ","))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", example.name, err, out)
		}
		for _, want := range example.says {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s says nothing of %q:\n%s", example.name, want, out)
			}
		}
	}
}
