package compose

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// Optional parts are those of a profile; nothing that always runs waits for one.
func TestProfiles(t *testing.T) {
	want := map[string]string{
		"otel-collector": "tracing zipkin logging", "jaeger": "tracing", "zipkin": "zipkin",
		"elasticsearch": "logging", "kibana": "logging", "logging-setup": "logging",
	}
	project := load(t)
	services(t, func(t *testing.T, s types.ServiceConfig) {
		if got := strings.Join(s.Profiles, " "); got != want[s.Name] {
			t.Errorf("profiles %q, want %q", got, want[s.Name])
		}
		for other := range s.DependsOn {
			if core(s) && !core(project.Services[other]) {
				t.Errorf("waits for %s, which may not be started", other)
			}
		}
	})
}

// Each profile stands alone: the Collector runs in it and waits for those of its
// destinations that run.
func TestEachProfileAlone(t *testing.T) {
	for profile, destination := range map[string]string{"tracing": "jaeger", "zipkin": "zipkin", "logging": "logging-setup"} {
		project := loadProfiles(t, []string{profile})
		collector, ok := project.Services["otel-collector"]
		if !ok {
			t.Errorf("%s: no Collector", profile)
			continue
		}
		if _, ok := collector.DependsOn[destination]; !ok {
			t.Errorf("%s: the Collector waits for %v, want %s", profile, collector.DependsOn, destination)
		}
		for _, other := range []string{"jaeger", "zipkin", "elasticsearch"} {
			if _, runs := project.Services[other]; runs && other != destination && profile != "logging" {
				t.Errorf("%s starts %s", profile, other)
			}
		}
		for name := range collector.DependsOn {
			if d := collector.DependsOn[name]; d.Required {
				t.Errorf("%s: the Collector cannot start without %s", profile, name)
			}
		}
	}
}

// A docker that tells what it is given when it is to start something.
const tellingDocker = `#!/bin/sh
[ "$1 $2" != "compose config" ] || echo kafka
[ "$1 $2" != "compose up" ] || for v in COMPOSE_PROFILES OTEL_TRACES_EXPORTER OTEL_LOGS_EXPORTER TRACES_TO LOGS_TO \
	COLLECTOR_CONFIG COLLECTOR_TARGETS TRACING_TARGETS; do eval "echo \"$v=\${$v-}\"" >>"$CALLS"; done
`

// PROFILES switches on what the services send, and has the Collector send it on
// to what runs.
func TestProfilesSwitchOnWhatTheyNeed(t *testing.T) {
	const zipkin, elasticsearch, sampling = "--config=/etc/otel-collector/zipkin.yaml", "--config=/etc/otel-collector/elasticsearch.yaml", "--config=/etc/otel-collector/tail-sampling.yaml"
	for profiles, want := range map[string][]string{
		"":                       {"", "", "", "", "", "", "", ""},
		"tracing":                {"tracing", "otlp", "", "[otlp_grpc/jaeger]", "", "", "available", "available"},
		"zipkin":                 {"zipkin", "otlp", "", "[zipkin]", "", zipkin, "available", ""},
		"logging":                {"logging", "", "otlp", "[debug]", "[elasticsearch]", elasticsearch, "available", ""},
		"tracing logging":        {"tracing,logging", "otlp", "otlp", "[otlp_grpc/jaeger]", "[elasticsearch]", elasticsearch, "available", "available"},
		"tracing zipkin logging": {"tracing,zipkin,logging", "otlp", "otlp", "[otlp_grpc/jaeger,zipkin]", "[elasticsearch]", zipkin + " " + elasticsearch, "available", "available"},
		"tracing with sampling":  {"tracing", "otlp", "", "[otlp_grpc/jaeger]", "", sampling, "available", "available"},
	} {
		for _, command := range []string{"start", "monitoring"} {
			t.Run(command+" "+profiles, func(t *testing.T) {
				asked, sample, _ := strings.Cut(profiles, " with ")
				env := []string{"PROFILES=" + asked}
				if sample != "" {
					env = append(env, "TAIL_SAMPLING=1")
				}
				out, told, err := run(t, t.TempDir(), tellingDocker, "", []string{command}, env)
				if err != nil {
					t.Fatalf("%v, %s", err, out)
				}
				var got []string
				for line := range strings.Lines(told) {
					_, value, _ := strings.Cut(strings.TrimSpace(line), "=")
					got = append(got, value)
				}
				if strings.Join(got, "|") != strings.Join(want, "|") {
					t.Errorf("docker compose was given\n%s, want %q", told, want)
				}
			})
		}
	}
}

// What the profiles name, the Collector's container has.
func TestCollectorIsGivenItsFiles(t *testing.T) {
	const files = "--config=/etc/otel-collector/zipkin.yaml --config=/etc/otel-collector/elasticsearch.yaml"
	collector := load(t, "COLLECTOR_CONFIG="+files, "TRACES_TO=[zipkin]", "LOGS_TO=[elasticsearch]").Services["otel-collector"]
	if got, want := strings.Join(collector.Command, " "), "--config=/etc/otelcol-contrib/config.yaml "+files; got != want {
		t.Errorf("the Collector is started with %s, want %s", got, want)
	}
	for name, want := range map[string]string{"TRACES_TO": "[zipkin]", "LOGS_TO": "[elasticsearch]"} {
		if got := collector.Environment[name]; got == nil || *got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	mounted := map[string]string{}
	for _, v := range collector.Volumes {
		mounted[v.Target] = v.Source
	}
	script := read(t, "tools/stack-profiles.sh")
	for _, named := range regexp.MustCompile(`--config=(\S+?\.yaml)`).FindAllStringSubmatch(script, -1) {
		source, ok := mounted[path.Dir(named[1])]
		if !ok {
			t.Errorf("%s is not mounted", named[1])
			continue
		}
		exists(t, path.Join(source, path.Base(named[1])))
	}
}

// The page states what each part may take.
func TestMemoryOfOptionalPartsIsDocumented(t *testing.T) {
	page := read(t, "docs/stack.md")
	for name, s := range load(t).Services {
		if core(s) || s.Restart == "no" {
			continue
		}
		label := map[string]string{"otel-collector": "Collector", "elasticsearch": "Elasticsearch", "kibana": "Kibana", "jaeger": "Jaeger", "zipkin": "Zipkin"}[name]
		if want := fmt.Sprintf("%s %d", label, s.MemLimit>>20); !strings.Contains(page, want) {
			t.Errorf("docs/stack.md does not say %q", want)
		}
	}
}
