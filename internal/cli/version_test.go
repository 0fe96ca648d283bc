package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/services"
)

// The command, --version and telemetry say the same version.
func TestVersion(t *testing.T) {
	said := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if status := Run(t.Context(), services.All(), append([]string{"vigie"}, args...), nil, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
			t.Fatalf("vigie %v: status %d: %s", args, status, &stderr)
		}
		return stdout.String()
	}
	text, flag, object := said("version"), said("--version"), said("version", "--json")
	first, rest, _ := strings.Cut(text, "\n")
	if want := "vigie version " + programVersion(); first != want || flag != want+"\n" {
		t.Errorf("vigie version begins with %q, --version is %q, want %q", first, flag, want)
	}
	if !strings.HasSuffix(rest, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH+"\n") {
		t.Errorf("the Go version is not in %q", rest)
	}
	var b build
	if err := json.Unmarshal([]byte(object), &b); err != nil || b.Version != programVersion() || b.Go != runtime.Version() {
		t.Errorf("--json: %s (%v)", object, err)
	}
}

// The image is built without a checkout: its version is linked in, by the name
// that the variable has.
func TestTheImageSaysItsVersion(t *testing.T) {
	defer func(before string) { linked = before }(linked)
	linked = "v1.2.3"
	for _, info := range []*debug.BuildInfo{nil, {Main: debug.Module{Version: "(devel)"}}, {Main: debug.Module{Version: "v1.0.0"}}} {
		if got := readBuild(info, info != nil).Version; got != linked {
			t.Errorf("of %v: version %s, want %s", info, got, linked)
		}
	}
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if want := "-X " + reflect.TypeFor[build]().PkgPath() + ".linked=$VERSION"; !strings.Contains(string(text), want) {
		t.Errorf("the Dockerfile does not link with %s", want)
	}
}

func TestBuildInfo(t *testing.T) {
	const commit = "5ac1b0de6bd5c2f3a5a8e9a5f1c7e6b2d3f4a5b6"
	checkout := []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.time", Value: "2026-11-28T06:00:00Z"}}
	for name, tt := range map[string]struct {
		info  *debug.BuildInfo
		want  build
		first string
	}{
		"no build info": {nil, build{Version: "dev"}, "vigie version dev\ngo"},
		"a work tree":   {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, build{Version: "dev"}, "vigie version dev\ngo"},
		"a test":        {&debug.BuildInfo{}, build{Version: "dev"}, "vigie version dev\ngo"},
		"a module":      {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, build{Version: "v1.2.3"}, "vigie version v1.2.3\ngo"},
		"a checkout": {
			&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: append(checkout, debug.BuildSetting{Key: "vcs.modified", Value: "false"})},
			build{Version: "v1.2.3", Commit: commit, Time: "2026-11-28T06:00:00Z"},
			"vigie version v1.2.3\ncommit " + commit + " of 2026-11-28T06:00:00Z\ngo",
		},
		"changes": {
			&debug.BuildInfo{Main: debug.Module{Version: "v1.2.4+dirty"}, Settings: append(checkout, debug.BuildSetting{Key: "vcs.modified", Value: "true"})},
			build{Version: "v1.2.4+dirty", Commit: commit, Time: "2026-11-28T06:00:00Z", Modified: true},
			"vigie version v1.2.4+dirty\ncommit " + commit + " of 2026-11-28T06:00:00Z, with changes that are not committed\ngo",
		},
	} {
		got := readBuild(tt.info, tt.info != nil)
		tt.want.Go, tt.want.Platform = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		if text := got.text("vigie"); !strings.HasPrefix(text, tt.first) || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s reads %q, want %q first", name, text, tt.first)
		}
	}
}
