// Package deploy_test holds what stands in deploy/ against the program: the services, their ports, the settings and the topics that
// manifests and examples name are those that it has. tools/helm, in a module of its own, has the tests of the chart itself.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/services"
)

// object is what the tests read of an object of Kubernetes.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Ports      []struct{ Port int }
		Partitions int32
		Config     map[string]int64
	}
}

func objects(t *testing.T, file string) []object {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(repo.Read(t, file))))
	var found []object
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found = append(found, o)
	}
}

// The chart has the registry's services, at their ports.
func TestServicesAreTheRegistrys(t *testing.T) {
	var values struct{ Services []string }
	if err := yaml.Unmarshal([]byte(repo.Read(t, "deploy/helm/vigie/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(services.All().Names(), values.Services); diff != "" {
		t.Errorf("-registry +chart:\n%s", diff)
	}
	ports := map[string]string{}
	for _, o := range objects(t, "deploy/kubernetes/bank/vigie.yaml") {
		if o.Kind == "Service" {
			ports[o.Metadata.Name] = strconv.Itoa(o.Spec.Ports[0].Port)
		}
	}
	for _, s := range services.All() {
		_, want, _ := strings.Cut(s.Address, ":")
		if got := ports["vigie-"+s.Name]; got != want {
			t.Errorf("%s is at port %q, the program's is %s", s.Name, got, want)
		}
	}
}

// Every variable that the chart sets is one that the program, or a library in it,
// reads.
func TestSettingsExist(t *testing.T) {
	reference := repo.Read(t, "docs/configuration.md")
	libraries := regexp.MustCompile(`^(OTEL_[A-Z_]+|PGSSLMODE|PGSSLROOTCERT)$`)
	checked := 0
	for _, file := range []string{
		"deploy/kubernetes/bank/vigie.yaml", "deploy/kubernetes/sentinelle/vigie.yaml", "deploy/kubernetes/postgres/vigie.yaml",
		"tools/helm/testdata/everything.golden.yaml",
	} {
		for _, o := range objects(t, file) {
			if o.Kind != "ConfigMap" || strings.Contains(o.Metadata.Name, "dashboard") {
				continue
			}
			for name := range o.Data {
				checked++
				if !libraries.MatchString(name) && !strings.Contains(reference, "`"+name+"`") {
					t.Errorf("%s: %s sets %s, which no command reads", file, o.Metadata.Name, name)
				}
			}
		}
	}
	if checked < 100 {
		t.Errorf("%d settings were found", checked)
	}
}

// The topics of the example are those that the program would make.
func TestStrimzisTopics(t *testing.T) {
	var got []banking.Topic
	for _, o := range objects(t, "deploy/examples/strimzi.yaml") {
		if o.Kind != "KafkaTopic" {
			continue
		}
		want := slices.IndexFunc(banking.Topics(), func(t banking.Topic) bool { return t.Name == o.Metadata.Name })
		if want < 0 || o.Spec.Config["retention.ms"] != banking.Topics()[want].Retention.Milliseconds() ||
			o.Spec.Config["max.message.bytes"] != kafka.MaxRecordBytes {
			t.Errorf("%s: %v", o.Metadata.Name, o.Spec.Config)
			continue
		}
		got = append(got, banking.Topic{Name: o.Metadata.Name, Partitions: o.Spec.Partitions, Retention: banking.Topics()[want].Retention})
	}
	if diff := cmp.Diff(banking.Topics(), got); diff != "" {
		t.Errorf("-program +example:\n%s", diff)
	}
}

// Every file is YAML, and the examples' secrets are names.
func TestExamplesAreYAML(t *testing.T) {
	files, err := filepath.Glob(repo.Path(t, "deploy", "examples", "*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	secret := regexp.MustCompile(`(?i)password: *[^\s{]|BEGIN [A-Z ]*PRIVATE KEY|://[^/\s]+:[^/\s]+@`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects(t, filepath.Join("deploy", "examples", filepath.Base(file)))
		if found := secret.Find(text); found != nil {
			t.Errorf("%s: a secret: %s", file, found)
		}
	}
}

// What the chart takes from monitoring/ is there by links, which cannot differ from it.
func TestTheChartLinksToMonitoring(t *testing.T) {
	for link, folder := range map[string]string{"rules": "monitoring/rules", "dashboards": "monitoring/grafana/dashboards"} {
		got, err := filepath.EvalSymlinks(repo.Path(t, "deploy", "helm", "vigie", "files", link))
		if err != nil {
			t.Fatal(err)
		}
		want, err := filepath.EvalSymlinks(repo.Path(t, filepath.FromSlash(folder)))
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("files/%s leads to %s, not to %s", link, got, want)
		}
	}
}
