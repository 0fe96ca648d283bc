package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files, and the manifests in deploy/kubernetes, again")

const (
	chartFolder = "../../deploy/helm/vigie"
	manifests   = "../../deploy/kubernetes"
	ruleFiles   = "../../monitoring/rules"
	boards      = "../../monitoring/grafana/dashboards"
)

// The variants that everything below is held against: those that stand in
// deploy/kubernetes as plain manifests, and one with all that the chart can do.
var variants = []struct {
	name   string
	values string // its values
	golden string // how it renders; "" where the others show it
	helm   bool
}{
	{"bank", manifests + "/bank/values.yaml", manifests + "/bank/vigie.yaml", false},
	{"sentinelle", manifests + "/sentinelle/values.yaml", manifests + "/sentinelle/vigie.yaml", false},
	{"postgres", manifests + "/postgres/values.yaml", manifests + "/postgres/vigie.yaml", false},
	{"everything", "testdata/everything.values.yaml", "testdata/everything.golden.yaml", true},
	{"production", "../../deploy/examples/production.yaml", "", true},
}

const head = "# Rendered from deploy/helm/vigie with the values beside this file, by `make manifests`: edit those.\n"

func renderVariant(t *testing.T, name string) rendered {
	t.Helper()
	for _, v := range variants {
		if v.name != name {
			continue
		}
		values, err := readValues(v.values, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := render(chartFolder, release{namespace: "bank", values: values, helm: v.helm})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("no variant %s", name)
	return rendered{}
}

// Each variant renders as its file says.
func TestRenders(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			if v.golden == "" {
				t.Skip("it is held against the types alone")
			}
			out := renderVariant(t, v.name)
			compare(t, v.golden, slices.Concat([]byte(head), withoutMonitoring(t, out)))
			compare(t, filepath.Join("testdata", v.name+".notes.golden.txt"), []byte(out.notes))
		})
	}
}

// withoutMonitoring has of the rules and of the dashboards one each, by its file's name
// alone: files come and change without this. TestMonitoringIsThatOfMonitoring holds
// that all are there, and whole.
func withoutMonitoring(t *testing.T, out rendered) []byte {
	t.Helper()
	several := regexp.MustCompile(`(?m)^kind: PrometheusRule$|^    grafana_dashboard: `)
	shown := regexp.MustCompile(`(?m)^  name: vigie-(services|dashboard-overview)$`)
	out.objects = slices.DeleteFunc(out.objects, func(o string) bool { return several.MatchString(o) && !shown.MatchString(o) })
	document := out.document()
	for file, indent := range map[string]string{ruleFiles + "/services.yml": "  ", boards + "/overview.json": "    "} {
		whole := strings.ReplaceAll(indented(string(read(t, file)), indent), "{{ $externalLabels.grafana_url }}", "https://grafana.example.com")
		document = bytes.ReplaceAll(document, []byte(whole), []byte(indent+"# "+filepath.Base(file)+", whole"))
	}
	return document
}

func indented(text, indent string) string {
	return indent + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+indent)
}

// Rules and dashboards are the files of monitoring/: all of them but those that the
// values leave out, and of each every word.
func TestMonitoringIsThatOfMonitoring(t *testing.T) {
	out := renderVariant(t, "everything")
	var rules, dashboards []string
	for _, o := range objects(t, out) {
		switch {
		case o.GetKind() == "PrometheusRule":
			rules = append(rules, strings.TrimPrefix(o.GetName(), "vigie-"))
			same(t, o.Object["spec"], strings.ReplaceAll(string(read(t, filepath.Join(ruleFiles, rules[len(rules)-1]+".yml"))), "{{ $externalLabels.grafana_url }}", "https://grafana.example.com"))
		case o.GetLabels()["grafana_dashboard"] != "":
			name := strings.TrimPrefix(o.GetName(), "vigie-dashboard-")
			dashboards = append(dashboards, name)
			data := o.Object["data"].(map[string]any)
			if got, want := strings.TrimSpace(data[name+".json"].(string)), strings.TrimSpace(string(read(t, filepath.Join(boards, name+".json")))); got != want {
				t.Errorf("dashboard %s is not the file", name)
			}
		}
	}
	for what, c := range map[string]struct {
		got        []string
		folder     string
		extension  string
		leavingOut []string
	}{
		"rules":      {rules, ruleFiles, ".yml", []string{"host", "jvm", "kafka", "monitoring"}},
		"dashboards": {dashboards, boards, ".json", []string{"broker", "host"}},
	} {
		var want []string
		for _, file := range files(t, c.folder) {
			if name := strings.TrimSuffix(filepath.Base(file), c.extension); !slices.Contains(c.leavingOut, name) {
				want = append(want, name)
			}
		}
		if slices.Sort(c.got); len(want) == 0 || !slices.Equal(c.got, want) {
			t.Errorf("%s: the chart has %v, monitoring has %v", what, c.got, want)
		}
	}
}

func same(t *testing.T, got any, wantYAML string) {
	t.Helper()
	var want any
	if err := yaml.Unmarshal([]byte(wantYAML), &want); err != nil {
		t.Fatal(err)
	}
	var normal any
	text, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &normal); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, normal); diff != "" {
		t.Errorf("-file +chart:\n%s", diff)
	}
}

func TestLint(t *testing.T) {
	for _, v := range variants {
		values, err := readValues(v.values, nil)
		if err != nil {
			t.Fatal(err)
		}
		result := lint.RunAll(chartFolder, values, "bank", lint.WithKubeVersion(&capabilities(t).KubeVersion))
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", v.name, m)
			}
		}
	}
}

// What cannot be meant so is refused in words that name the value.
func TestRefused(t *testing.T) {
	const kafka = "kafka.brokers=kafka:9092"
	for name, tt := range map[string]struct {
		set  []string
		want string
	}{
		"no Kafka":                    {nil, "kafka.brokers is needed"},
		"two on SQLite":               {[]string{kafka, "suivi.replicas=2"}, "suivi: several instances share a PostgreSQL"},
		"two of paiement":             {[]string{kafka, "services={paiement}", "paiement.replicas=3"}, "set paiement.replicas=1"},
		"two that follow a bank":      {[]string{kafka, "services={sentinelle}", "sentinelle.replicas=2", "sentinelle.bank=on"}, "sentinelle: several instances"},
		"autoscaling on SQLite":       {[]string{kafka, "paiement.autoscaling.enabled=true"}, "paiement: several instances"},
		"autoscaling of commande":     {[]string{kafka, "commande.autoscaling.enabled=true"}, "/commande/autoscaling/enabled"},
		"an unknown service":          {[]string{kafka, "services={banque}"}, "/services/0"},
		"no service":                  {[]string{kafka, "services=null"}, "services"},
		"a service twice":             {[]string{kafka, "services={suivi,suivi}"}, "/services"},
		"a slip of the pen":           {[]string{kafka, "databse.url.secret=db"}, "databse"},
		"a password":                  {[]string{kafka, "kafka.sasl.password=geheim"}, "/kafka/sasl/password"},
		"a password among settings":   {[]string{kafka, "suivi.settings.KAFKA_SASL_PASSWORD=geheim"}, "KAFKA_SASL_PASSWORD is a secret"},
		"a database's URL":            {[]string{kafka, "suivi.settings.DATABASE_URL=postgres://u:p@h/d"}, "DATABASE_URL is a secret, and the settings of suivi"},
		"a name that is no secret's":  {[]string{kafka, "database.url.secret=postgres://u:p@h/d"}, "/database/url/secret"},
		"a broker without a port":     {[]string{"kafka.brokers=kafka"}, "/kafka/brokers"},
		"SASL without a password":     {[]string{kafka, "kafka.sasl.mechanism=PLAIN", "kafka.sasl.user=vigie"}, "kafka.sasl.password.secret"},
		"TLS that is off":             {[]string{kafka, "kafka.tls.ca.secret=ca"}, "kafka.tls.enabled=true"},
		"authorities of no database":  {[]string{kafka, "database.ca.secret=ca"}, "database.url"},
		"a collector without address": {[]string{kafka, "otel.traces=true"}, "otel.endpoint"},
		"a mechanism of nobody's":     {[]string{kafka, "kafka.sasl.mechanism=GSSAPI"}, "/kafka/sasl/mechanism"},
		"a time without a unit":       {[]string{kafka, "retention=90"}, "/retention"},
	} {
		t.Run(name, func(t *testing.T) {
			values, err := readValues("", tt.set)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := render(chartFolder, release{values: values}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error that says %q", err, tt.want)
			}
		})
	}
}

// Every value of values.yaml is one that the schema knows, and the other way round.
func TestSchemaAndValuesNameTheSame(t *testing.T) {
	var values, schema map[string]any
	for file, into := range map[string]*map[string]any{"values.yaml": &values, "values.schema.json": &schema} {
		if err := yaml.Unmarshal(read(t, filepath.Join(chartFolder, file)), into); err != nil {
			t.Fatal(err)
		}
	}
	var walk func(at string, value any, described map[string]any)
	walk = func(at string, value any, described map[string]any) {
		if ref, ok := described["$ref"].(string); ok {
			described = schema["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		properties, ok := described["properties"].(map[string]any)
		here, isMap := value.(map[string]any)
		if !ok || !isMap {
			return
		}
		for name, p := range properties {
			if _, ok := here[name]; !ok && at+name != "global" {
				t.Errorf("values.yaml does not name %s%s", at, name)
			}
			walk(at+name+".", here[name], p.(map[string]any))
		}
	}
	walk("", values, schema)
}

// New settings make new pods, of the service that they are for and of no other.
func TestSettingsMakeNewPods(t *testing.T) {
	sums := func(set ...string) map[string]string {
		values, err := readValues("", append(set, "kafka.brokers=kafka:9092"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := render(chartFolder, release{values: values})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, w := range workloads(t, out) {
			found[w.name] = w.template.Annotations["checksum/settings"]
		}
		return found
	}
	before, after := sums(), sums("paiement.settings.PAIEMENT_LATENCY=500ms")
	for name, sum := range before {
		if changed := after[name] != sum; changed != (name == "vigie-paiement") {
			t.Errorf("%s: its pods change: %v", name, changed)
		}
	}
	if len(before) != 5 {
		t.Errorf("%d workloads", len(before))
	}
}

// The command renders the same as the tests do, and packs the chart with the files
// that its links lead to.
func TestCommand(t *testing.T) {
	var out, told bytes.Buffer
	if err := run([]string{"-chart", chartFolder, "-set", "kafka.brokers=kafka:9092", "-set", "services={sentinelle}"}, &out, &told); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\nkind: Deployment\n"); got != 1 {
		t.Errorf("%d Deployments in\n%s", got, out.String())
	}
	folder := t.TempDir()
	out.Reset()
	if err := run([]string{"-chart", chartFolder, "-pack", folder}, &out, &told); err != nil {
		t.Fatal(err)
	}
	values, err := readValues(filepath.Join("testdata", "everything.values.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := render(strings.TrimSpace(out.String()), release{namespace: "bank", values: values, helm: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(renderVariant(t, "everything").objects, packed.objects); diff != "" {
		t.Errorf("-folder +archive:\n%s", diff)
	}
}

// A kustomization takes the manifests and changes what differs between clusters: what
// is set differently reaches the pods, which are new for it.
func TestOverlay(t *testing.T) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), manifests+"/overlay")
	if err != nil {
		t.Fatal(err)
	}
	document, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	settings, found := map[string]map[string]string{}, 0
	var out rendered
	for _, text := range strings.Split(string(document), "\n---\n") {
		out.objects = append(out.objects, text)
	}
	for _, o := range objects(t, out) {
		if c, ok := mustDecode(t, o).(*corev1.ConfigMap); ok {
			settings[c.Name] = c.Data
		}
	}
	for _, w := range workloads(t, out) {
		found++
		c := w.template.Spec.Containers[0]
		if got := settings[c.EnvFrom[0].ConfigMapRef.Name]["KAFKA_BROKERS"]; got != "kafka-1.example.com:9092,kafka-2.example.com:9092" {
			t.Errorf("%s: the brokers are %q", w.name, got)
		}
		if c.Image != "registry.example.com/vigie:2026-11-28" {
			t.Errorf("%s: the image is %s", w.name, c.Image)
		}
	}
	if found != 5 {
		t.Errorf("%d workloads", found)
	}
}

func TestMain(m *testing.M) {
	quiet()
	os.Exit(m.Run())
}

func files(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*.*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v, %d files", folder, err, len(found))
	}
	return found
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (make manifests writes it again; -file +chart):\n%s", file, diff)
	}
}
