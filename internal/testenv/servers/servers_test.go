//go:build unix

package servers

import (
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// The servers are of the versions whose packages read the configuration in the
// tests without them.
func TestServersAreOfTheVersionsInGoMod(t *testing.T) {
	text := repo.Read(t, "go.mod")
	for _, program := range []string{Prometheus, Promtool, Alertmanager, Amtool} {
		s, ok := sourceOf(program)
		if !ok || !strings.Contains(text, s.module+" "+s.version+"\n") {
			t.Errorf("%s is of %s %s, which go.mod does not name", program, s.module, s.version)
		}
	}
	if _, ok := sourceOf("nothing"); ok {
		t.Error("a program that there is not")
	}
}

// The Collector's program has every part of the manifest, in one version.
func TestTheCollectorIsOfOneVersion(t *testing.T) {
	text, err := collectorModule()
	if err != nil {
		t.Fatal(err)
	}
	var parts int
	for line := range strings.Lines(string(collectorManifest)) {
		_, part, ok := strings.Cut(strings.TrimSpace(line), "gomod: ")
		if !ok {
			continue
		}
		parts++
		if !strings.Contains(text, "\nrequire "+part+"\n") {
			t.Errorf("the module lacks %s", part)
		}
		if version := " " + collectorVersion; !strings.HasSuffix(part, version) && !strings.Contains(part, "/confmap/provider/") {
			t.Errorf("%s is not of%s", part, version)
		}
	}
	if parts < 10 || !strings.Contains(string(collectorManifest), "version: "+strings.TrimPrefix(collectorVersion, "v")+"\n") {
		t.Errorf("%d parts, or another version", parts)
	}
	if r, ok := recipeOf(Collector); !ok || !strings.HasPrefix(r.version, collectorVersion+"-") {
		t.Errorf("the Collector's recipe has version %q", r.version)
	}
}
