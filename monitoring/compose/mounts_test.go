package compose

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// Every file that is mounted is there, whichever way the stack is started: a
// missing one would become an empty folder.
func TestMountedFilesExist(t *testing.T) {
	for name, env := range map[string][]string{
		"services in containers": nil,
		"services on the host":   {"VIGIE_SERVICES=host"},
		"with tracing":           {"COLLECTOR_TARGETS=available", "TRACING_TARGETS=available"},
		"with logging":           {"COLLECTOR_TARGETS=available"},
		"alerts by mail":         {"ALERTMANAGER_CONFIG=alertmanager/email.yml"},
		"alerts to Slack":        {"ALERTMANAGER_CONFIG=alertmanager/slack.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			mounted := 0
			for _, s := range load(t, env...).Services {
				for _, v := range s.Volumes {
					if v.Type != types.VolumeTypeBind {
						continue
					}
					mounted++
					if _, err := os.Stat(v.Source); err != nil {
						t.Errorf("%s: %v", s.Name, err)
					}
					if !v.ReadOnly {
						t.Errorf("%s may write %s", s.Name, v.Source)
					}
				}
			}
			if mounted == 0 {
				t.Error("nothing is mounted")
			}
		})
	}
}

// What lasts is in volumes with names, and each of these is used.
func TestVolumes(t *testing.T) {
	project := load(t)
	used := map[string]bool{}
	for _, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeVolume {
				continue
			}
			if v.Source == "" {
				t.Errorf("%s: a volume without a name at %s would be left behind", s.Name, v.Target)
			}
			used[v.Source] = true
		}
	}
	for name := range project.Volumes {
		if !used[name] {
			t.Errorf("volume %s is not used", name)
		}
	}
}

// The services on the host have a log of their own, for it would not fit the
// state of those in containers; and metrics, for one way's targets are not down
// in the other.
func TestEachWayOfRunningHasItsOrders(t *testing.T) {
	for _, volume := range []string{"kafka", "prometheus"} {
		containers, host := load(t).Volumes[volume].Name, load(t, "VIGIE_SERVICES=host").Volumes[volume].Name
		if containers == host || !strings.HasPrefix(host, "vigie_"+volume) {
			t.Errorf("the volumes of %s are %s and %s", volume, containers, host)
		}
		if other := load(t, "COMPOSE_PROJECT_NAME=other").Volumes[volume].Name; !strings.HasPrefix(other, "other_") {
			t.Errorf("another project has the volume %s", other)
		}
	}
}

// Settings come from the environment and have the documented defaults.
func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		want map[string]string // service → what its environment or command has
	}{
		"defaults": {nil, map[string]string{
			"grafana": "GF_SECURITY_ADMIN_USER=admin GF_SECURITY_ADMIN_PASSWORD=admin", "prometheus": "--storage.tsdb.retention.time=15d",
			"paiement": "PAIEMENT_REJECT_RATE=0.2 OTEL_TRACES_EXPORTER=none",
		}},
		"changed": {[]string{"GRAFANA_ADMIN_USER=me", "GRAFANA_ADMIN_PASSWORD=secret", "PROMETHEUS_RETENTION=30d", "PAIEMENT_REJECT_RATE=0.5", "OTEL_TRACES_EXPORTER=otlp"}, map[string]string{
			"grafana": "GF_SECURITY_ADMIN_USER=me GF_SECURITY_ADMIN_PASSWORD=secret", "prometheus": "--storage.tsdb.retention.time=30d",
			"paiement": "PAIEMENT_REJECT_RATE=0.5 OTEL_TRACES_EXPORTER=otlp",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			project := load(t, tt.env...)
			for service, want := range tt.want {
				s := project.Services[service]
				has := slices.Clone(s.Command)
				for k, v := range s.Environment {
					if v != nil {
						has = append(has, k+"="+*v)
					}
				}
				for _, w := range strings.Fields(want) {
					if !slices.Contains(has, w) {
						t.Errorf("%s has no %s", service, w)
					}
				}
			}
		})
	}
}
