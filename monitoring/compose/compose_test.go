package compose

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// What the documents name: each part with the ports that it has on loopback.
func documented() map[string][]string {
	return map[string][]string{
		"commande": {"3001"}, "suivi": {"3002"}, "analyseur": {"3003"}, "paiement": {"3004"}, "topics": nil,
		"kafka": {"9092"}, "kafka-jmx-exporter": {"5556"}, "postgres": nil,
		"prometheus": {"9090"}, "alertmanager": {"9093"}, "alert-sink": {"3099"}, "node-exporter": {"9100"}, "grafana": {"3000"},
		"otel-collector": {"4317", "4318"}, "jaeger": {"16686"}, "zipkin": {"9411"}, "elasticsearch": nil, "kibana": {"5601"}, "logging-setup": nil,
	}
}

func TestPartsAndPortsAreTheDocumentedOnes(t *testing.T) {
	want := documented()
	if got := load(t).ServiceNames(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("services %v, documented are %v", got, slices.Sorted(maps.Keys(want)))
	}
	services(t, func(t *testing.T, s types.ServiceConfig) {
		var published []string
		for _, p := range s.Ports {
			published = append(published, p.Published)
			if p.HostIP != "127.0.0.1" {
				t.Errorf("port %s is published on %q", p.Published, p.HostIP)
			}
		}
		if slices.Sort(published); !slices.Equal(published, want[s.Name]) {
			t.Errorf("ports %v, documented are %v", published, want[s.Name])
		}
		if s.NetworkMode != "" && s.NetworkMode != "default" {
			t.Errorf("network mode %s: ports would be open beyond loopback", s.NetworkMode)
		}
	})
}

// A part is waited for until it is healthy, not until it has been started.
func TestHealth(t *testing.T) {
	services(t, func(t *testing.T, s types.ServiceConfig) {
		once := s.Restart == "no"
		if check := s.HealthCheck; !once && (check == nil || check.Disable || len(check.Test) < 2) {
			t.Error("no health check")
		} else if !once && check.Timeout == nil {
			t.Error("a health check without a time-out")
		}
		for other, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy && d.Condition != types.ServiceConditionCompletedSuccessfully {
				t.Errorf("waits for %s to be %s", other, d.Condition)
			}
		}
		if s.Name != "topics" && s.Name != "logging-setup" && s.Restart != types.RestartPolicyUnlessStopped {
			t.Errorf("restart is %q", s.Restart)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	const limit = 4 << 30
	var sum types.UnitBytes
	services(t, func(t *testing.T, s types.ServiceConfig) {
		if s.MemLimit <= 0 {
			t.Error("no memory limit")
		}
		if s.PidsLimit <= 0 {
			t.Error("no limit of processes")
		}
		if core(s) {
			sum += s.MemLimit
		}
	})
	if sum <= 0 || sum > limit {
		t.Errorf("what runs without a profile may take %d MiB together, over %d", sum>>20, limit>>20)
	}
}

func TestNothingHasRightsItNeedsNot(t *testing.T) {
	services(t, func(t *testing.T, s types.ServiceConfig) {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged {
			t.Errorf("capabilities: drops %v, adds %v, privileged %v", s.CapDrop, s.CapAdd, s.Privileged)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Error("may gain privileges")
		}
		if ours(s) && !s.ReadOnly {
			t.Error("its root can be written")
		}
	})
}

// An image is named by a version, so that tomorrow's start is today's.
func TestImagesArePinned(t *testing.T) {
	version := regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?([._-][\w.-]+)?$`)
	services(t, func(t *testing.T, s types.ServiceConfig) {
		if !local(s.Image) {
			if !version.MatchString(s.Image) {
				t.Errorf("image %s", s.Image)
			}
			return
		}
		file := filepath.Join(s.Build.Context, s.Build.Dockerfile)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1)
		if len(from) == 0 {
			t.Errorf("%s starts from nothing", file)
		}
		for _, f := range from {
			if f[1] != "scratch" && !version.MatchString(f[1]) {
				t.Errorf("%s is FROM %s", file, f[1])
			}
		}
		if target := s.Build.Target; target != "" && !regexp.MustCompile(`(?m)^FROM \S+ AS `+target+`$`).Match(text) {
			t.Errorf("%s has no stage %s", file, target)
		}
	})
}

// Our image: nothing but the binary, run by a user without rights; and the
// jar is the one that is named.
func TestDockerfiles(t *testing.T) {
	for file, want := range map[string][]string{
		"Dockerfile":                {`(?m)^FROM scratch AS vigie$`, `(?m)^USER 65532:65532$`, `CGO_ENABLED=0`, `ENTRYPOINT \["/vigie"\]`},
		"monitoring/jmx/Dockerfile": {`(?m)^USER 65532:65532$`, `SHA256=[0-9a-f]{64}\n`, `sha256sum -c`, `VERSION=\d+\.\d+\.\d+\n`},
	} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range want {
			if !regexp.MustCompile(pattern).Match(text) {
				t.Errorf("%s has no %s", file, pattern)
			}
		}
	}
}
