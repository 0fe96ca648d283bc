//go:build unix

package servers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The servers are of the versions whose packages read the configuration in the
// tests without them.
func TestServersAreOfTheVersionsInGoMod(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{Prometheus, Promtool, Alertmanager, Amtool} {
		s, ok := sourceOf(program)
		if !ok || !strings.Contains(string(text), s.module+" "+s.version+"\n") {
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

// What was made once is not made again, and what failed leaves nothing.
func TestOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	made := 0
	fill := func(aside string) error {
		made++
		return os.WriteFile(aside, []byte("whole"), 0o600)
	}
	for range 2 {
		path, err := once("thing", fill)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	if _, err := once("other", func(aside string) error {
		return os.WriteFile(filepath.Join(filepath.Dir(aside), "gone", "file"), nil, 0o600)
	}); err == nil {
		t.Error("a failure is not told")
	}
	cache, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"lock", "thing"}; !slices.Equal(names, want) {
		t.Errorf("the cache holds %v, want %v", names, want)
	}
}
