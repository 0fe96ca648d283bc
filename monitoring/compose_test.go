package monitoring_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/services"
)

// compose reads docker-compose.yml with all its profiles and these variables
// alone.
func compose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	return composeWith(t, []string{"*"}, env...)
}

// composeWith reads it with these profiles.
func composeWith(t *testing.T, profiles []string, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{repo.Path(t, "docker-compose.yml")},
		cli.WithWorkingDirectory(repo.Path(t)), cli.WithEnv(env), cli.WithDefaultProfiles(profiles...), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// eachPart are the stack's parts by name, each with its own subtest.
func eachPart(t *testing.T, check func(t *testing.T, s types.ServiceConfig)) {
	t.Helper()
	project := compose(t)
	for _, name := range project.ServiceNames() {
		t.Run(name, func(t *testing.T) { check(t, project.Services[name]) })
	}
}

// ours says whether a container runs our binary.
func ours(s types.ServiceConfig) bool { return s.Image == "vigie:local" }

// builtHere says whether an image is built here.
func builtHere(image string) bool { return strings.HasSuffix(image, ":local") }

// core says whether a part runs without a profile.
func core(s types.ServiceConfig) bool { return len(s.Profiles) == 0 }

// exists reports a file that is not there.
func exists(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// What the documents name: each part with the ports that it has on loopback.
func documented() map[string][]string {
	parts := map[string][]string{
		"topics": nil,
		"kafka":  {"9092"}, "kafka-jmx-exporter": {"5556"}, "postgres": nil,
		"prometheus": {"9090"}, "alertmanager": {"9093"}, "alert-sink": {"3099"}, "node-exporter": {"9100"}, "grafana": {"3000"},
		"otel-collector": {"4317", "4318"}, "jaeger": {"16686"}, "zipkin": {"9411"}, "elasticsearch": nil, "kibana": {"5601"}, "logging-setup": nil,
		"demo": nil,
	}
	for _, s := range services.All() {
		_, port, _ := strings.Cut(s.Address, ":")
		parts[s.Name] = []string{port}
	}
	return parts
}

func TestPartsAndPortsAreTheDocumentedOnes(t *testing.T) {
	want, registered := documented(), map[string]bool{}
	for _, name := range services.All().Names() {
		registered[name] = true
	}
	if got := compose(t).ServiceNames(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("services %v, documented are %v", got, slices.Sorted(maps.Keys(want)))
	}
	eachPart(t, func(t *testing.T, s types.ServiceConfig) {
		var published []string
		for _, p := range s.Ports {
			published = append(published, p.Published)
			if registered[s.Name] && p.Published != fmt.Sprint(p.Target) {
				t.Errorf("port %d is published as %s", p.Target, p.Published)
			}
			if p.HostIP != "127.0.0.1" {
				t.Errorf("port %s is published on %q", p.Published, p.HostIP)
			}
		}
		if slices.Sort(published); !slices.Equal(published, want[s.Name]) {
			t.Errorf("ports %v, documented are %v", published, want[s.Name])
		}
		if registered[s.Name] && !slices.Equal(s.Command, []string{s.Name}) {
			t.Errorf("runs vigie %v", s.Command)
		}
		if s.NetworkMode != "" && s.NetworkMode != "default" {
			t.Errorf("network mode %s: ports would be open beyond loopback", s.NetworkMode)
		}
	})
}

// A part is waited for until it is healthy, not until it has been started.
func TestHealth(t *testing.T) {
	eachPart(t, func(t *testing.T, s types.ServiceConfig) {
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

// commande makes the token for probes where sentinelle reads it, and nobody else does.
func TestTheTokenForProbesIsShared(t *testing.T) {
	const volume = "probe"
	project := compose(t)
	for _, name := range project.ServiceNames() {
		s := project.Services[name]
		told := s.Environment[strings.ToUpper(name)+"_PROBE_TOKEN_FILE"]
		for _, mount := range s.Volumes {
			if mount.Source != volume {
				continue
			}
			if told == nil || path.Dir(*told) != mount.Target || mount.ReadOnly != (name == "sentinelle") || name != "commande" && name != "sentinelle" {
				t.Errorf("%s has it as %+v", name, mount)
			}
			delete(s.Environment, strings.ToUpper(name)+"_PROBE_TOKEN_FILE")
		}
	}
	for _, name := range []string{"commande", "sentinelle"} {
		if told := project.Services[name].Environment[strings.ToUpper(name)+"_PROBE_TOKEN_FILE"]; told != nil {
			t.Errorf("%s is told of %s, where nothing is", name, *told)
		}
	}
}

func TestMemoryAndProcessorsAreBounded(t *testing.T) {
	const limit = 4 << 30
	var sum types.UnitBytes
	eachPart(t, func(t *testing.T, s types.ServiceConfig) {
		if s.MemLimit <= 0 {
			t.Error("no memory limit")
		}
		if s.MemSwapLimit != s.MemLimit {
			t.Errorf("it may swap: memory %d MiB, memory and swap %d MiB", s.MemLimit>>20, s.MemSwapLimit>>20)
		}
		if s.PidsLimit <= 0 {
			t.Error("no limit of processes")
		}
		// An engine refuses more processors than its machine has.
		if s.CPUS <= 0 || s.CPUS > 2 {
			t.Errorf("it may take %v processors", s.CPUS)
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
	eachPart(t, func(t *testing.T, s types.ServiceConfig) {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged {
			t.Errorf("capabilities: drops %v, adds %v, privileged %v", s.CapDrop, s.CapAdd, s.Privileged)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Error("may gain privileges")
		}
		if reason := writesItsRoot()[s.Name]; s.ReadOnly != (reason == "") {
			t.Errorf("its root is read-only: %v; reason to write it: %q", s.ReadOnly, reason)
		}
		for _, mount := range s.Tmpfs {
			for _, option := range []string{"noexec", "nosuid", "nodev", "size="} {
				if !strings.Contains(mount, option) {
					t.Errorf("a file system in memory without %s: %s", option, mount)
				}
			}
		}
	})
}

// writesItsRoot is the images that cannot do with a root that is read-only, and why.
func writesItsRoot() map[string]string {
	return map[string]string{
		"kafka":         "its start writes its configuration beside the image's own",
		"zipkin":        "Java unpacks libraries that have to be executable",
		"elasticsearch": "it writes its keystore and logs into its own folder",
		"kibana":        "it keeps its state in its own folder",
	}
}

// Only those share a network who have to: who holds data is reached by those that
// work with it.
func TestNetworksAreApart(t *testing.T) {
	project := compose(t)
	bank := services.All().Names()
	for holder, want := range map[string][]string{
		"postgres":      bank,
		"kafka":         slices.Concat(bank, []string{"kafka-jmx-exporter", "topics", "demo"}),
		"elasticsearch": {"grafana", "kibana", "logging-setup", "otel-collector"},
		"demo":          slices.Concat(bank, []string{"kafka", "kafka-jmx-exporter", "topics"}),
	} {
		var got []string
		for name := range project.Services {
			if name != holder && meet(project, holder, name) {
				got = append(got, name)
			}
		}
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s meets %v, want %v", holder, got, want)
		}
	}
	for name, n := range project.Networks {
		published := false
		for _, s := range project.Services {
			_, in := s.Networks[name]
			published = published || in && len(s.Ports) > 0 && len(s.Networks) == 1
		}
		if holdsData := name == "database" || name == "logging"; n.Internal != holdsData || published && holdsData {
			t.Errorf("network %s is internal: %v", name, n.Internal)
		}
	}
}

func meet(project *types.Project, one, other string) bool {
	for name := range project.Services[one].Networks {
		if _, ok := project.Services[other].Networks[name]; ok {
			return true
		}
	}
	return false
}

// Who is told another's address, waits for it or scrapes it, meets it.
func TestThoseMeetWhoTalk(t *testing.T) {
	project := compose(t)
	address := regexp.MustCompile(`\b([a-z][a-z-]+):\d{4,5}\b`)
	checked := 0
	check := func(from, text string) {
		for _, found := range address.FindAllStringSubmatch(text, -1) {
			to := found[1]
			if _, ok := project.Services[to]; !ok || to == from {
				continue
			}
			checked++
			if !meet(project, from, to) {
				t.Errorf("%s is to reach %s, and shares no network with it", from, to)
			}
		}
	}
	for name, s := range project.Services {
		check(name, strings.Join(s.Command, " "))
		for _, value := range s.Environment {
			if value != nil {
				check(name, *value)
			}
		}
		for other := range s.DependsOn {
			if s.Restart != "no" && other != "topics" && other != "logging-setup" {
				check(name, other+":00000")
			}
		}
	}
	for _, file := range []string{"containers/services.yml", "stack/alertmanager.yml", "stack/kafka.yml", "stack/node.yml", "available/jaeger.yml", "available/otel-collector.yml"} {
		check("prometheus", repo.Read(t, "monitoring/targets/"+file))
	}
	check("kafka-jmx-exporter", repo.Read(t, "monitoring/jmx/kafka.yml"))
	check("otel-collector", repo.Read(t, "otel-collector.yaml")+repo.Read(t, "monitoring/otel-collector/zipkin.yaml")+repo.Read(t, "monitoring/otel-collector/elasticsearch.yaml"))
	check("alertmanager", repo.Read(t, "monitoring/alertmanager.yml"))
	check("grafana", repo.Read(t, "monitoring/grafana/provisioning/datasources/datasources.yml"))
	check("topics", repo.Read(t, "tools/stack.sh")) // the doctor
	if checked < 40 {
		t.Errorf("%d addresses were found", checked)
	}
}

// An image is named by a version, so that tomorrow's start is today's.
func TestImagesArePinned(t *testing.T) {
	version := regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?([._-][\w.-]+)?$`)
	eachPart(t, func(t *testing.T, s types.ServiceConfig) {
		if !builtHere(s.Image) {
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
		text, err := os.ReadFile(repo.Path(t, file))
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

// Each service of the image listens where its container can be reached; which
// addresses of the machine lead there is said where it is run.
func TestTheImageCanBeReached(t *testing.T) {
	text := repo.Read(t, "Dockerfile")
	_, exposed, _ := strings.Cut(text, "\nEXPOSE ")
	exposed, _, _ = strings.Cut(exposed, "\n")
	for _, s := range services.All() {
		_, port, _ := strings.Cut(s.Address, ":")
		if want := strings.ToUpper(s.Name) + "_ADDR=0.0.0.0:" + port; !strings.Contains(text, want) {
			t.Errorf("the Dockerfile does not say %s", want)
		}
		if !slices.Contains(strings.Fields(exposed), port) {
			t.Errorf("the Dockerfile exposes %s, and not %s", exposed, port)
		}
	}
}

// The image's build has every folder that the command is built from.
func TestTheImageIsBuiltFromWhatTheCommandNeeds(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", "./cmd/vigie")
	cmd.Dir = repo.Path(t)
	packages, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dockerfile, context := repo.Read(t, "Dockerfile"), repo.Read(t, ".dockerignore")
	folders := map[string]bool{}
	for line := range strings.Lines(string(packages)) {
		if inside, ok := strings.CutPrefix(strings.TrimSpace(line), "github.com/vigie-dev/vigie/"); ok {
			folder, below, _ := strings.Cut(inside, "/")
			if folder == "test" { // of which it needs what is data
				folder += "/" + below
			}
			folders[folder] = true
		}
	}
	for folder := range folders {
		if !strings.Contains(dockerfile, "\nCOPY "+folder+" "+folder+"\n") || !strings.Contains(context, "\n!"+folder+"\n") {
			t.Errorf("the Dockerfile does not copy %s, or .dockerignore leaves it out", folder)
		}
	}
	if !folders["cmd"] || !folders["internal"] {
		t.Errorf("the command is built from %v", folders)
	}
}

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
			for _, s := range compose(t, env...).Services {
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
	project := compose(t)
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
		containers, host := compose(t).Volumes[volume].Name, compose(t, "VIGIE_SERVICES=host").Volumes[volume].Name
		if containers == host || !strings.HasPrefix(host, "vigie_"+volume) {
			t.Errorf("the volumes of %s are %s and %s", volume, containers, host)
		}
		if other := compose(t, "COMPOSE_PROJECT_NAME=other").Volumes[volume].Name; !strings.HasPrefix(other, "other_") {
			t.Errorf("another project has the volume %s", other)
		}
	}
}

// Settings come from the environment and have the documented defaults.
func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		env     []string
		version string            // of our image
		want    map[string]string // service → what its environment or command has
	}{
		"defaults": {nil, "dev", map[string]string{
			"grafana": "GF_SECURITY_ADMIN_USER=admin GF_SECURITY_ADMIN_PASSWORD=admin", "prometheus": "--storage.tsdb.retention.time=15d",
			"paiement": "PAIEMENT_REJECT_RATE=0.2 OTEL_TRACES_EXPORTER=none",
		}},
		"changed": {[]string{"GRAFANA_ADMIN_USER=me", "GRAFANA_ADMIN_PASSWORD=secret", "PROMETHEUS_RETENTION=30d", "PAIEMENT_REJECT_RATE=0.5", "OTEL_TRACES_EXPORTER=otlp", "VIGIE_VERSION=v1.2.3"}, "v1.2.3", map[string]string{
			"grafana": "GF_SECURITY_ADMIN_USER=me GF_SECURITY_ADMIN_PASSWORD=secret", "prometheus": "--storage.tsdb.retention.time=30d",
			"paiement": "PAIEMENT_REJECT_RATE=0.5 OTEL_TRACES_EXPORTER=otlp",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			project := compose(t, tt.env...)
			for service, want := range tt.want {
				s := project.Services[service]
				if ours(s) && s.Build.Args.ToMapping()["VERSION"] != tt.version {
					t.Errorf("%s is built with %v, want the version %s", service, s.Build.Args.ToMapping(), tt.version)
				}
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

// Optional parts are those of a profile; nothing that always runs waits for one.
func TestProfiles(t *testing.T) {
	want := map[string]string{
		"otel-collector": "tracing zipkin logging", "jaeger": "tracing", "zipkin": "zipkin",
		"elasticsearch": "logging", "kibana": "logging", "logging-setup": "logging", "demo": "demo",
	}
	project := compose(t)
	eachPart(t, func(t *testing.T, s types.ServiceConfig) {
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
		project := composeWith(t, []string{profile})
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

// What the profiles name, the Collector's container has.
func TestCollectorIsGivenItsFiles(t *testing.T) {
	const files = "--config=/etc/otel-collector/zipkin.yaml --config=/etc/otel-collector/elasticsearch.yaml"
	collector := compose(t, "COLLECTOR_CONFIG="+files, "TRACES_TO=[zipkin]", "LOGS_TO=[elasticsearch]").Services["otel-collector"]
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
	script := repo.Read(t, "tools/stack-profiles.sh")
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
	page := repo.Read(t, "docs/stack.md")
	for name, s := range compose(t).Services {
		if core(s) || s.Restart == "no" {
			continue
		}
		label := map[string]string{"otel-collector": "Collector", "elasticsearch": "Elasticsearch", "kibana": "Kibana", "jaeger": "Jaeger", "zipkin": "Zipkin", "demo": "the demonstration"}[name]
		if want := fmt.Sprintf("%s %d", label, s.MemLimit>>20); !strings.Contains(page, want) {
			t.Errorf("docs/stack.md does not say %q", want)
		}
	}
}
