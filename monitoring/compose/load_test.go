package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const root = "../.."

// load reads docker-compose.yml with all its profiles and these variables
// alone.
func load(t *testing.T, env ...string) *types.Project {
	t.Helper()
	return loadProfiles(t, []string{"*"}, env...)
}

// loadProfiles reads it with these profiles.
func loadProfiles(t *testing.T, profiles []string, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithWorkingDirectory(root), cli.WithEnv(env), cli.WithDefaultProfiles(profiles...), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// services are the stack's parts by name, each with its own subtest.
func services(t *testing.T, check func(t *testing.T, s types.ServiceConfig)) {
	t.Helper()
	project := load(t)
	for _, name := range project.ServiceNames() {
		t.Run(name, func(t *testing.T) { check(t, project.Services[name]) })
	}
}

// ours tells of a container that runs our binary.
func ours(s types.ServiceConfig) bool { return s.Image == "vigie:local" }

// local tells of an image that is built here.
func local(image string) bool { return strings.HasSuffix(image, ":local") }

// core tells of a part that runs without a profile.
func core(s types.ServiceConfig) bool { return len(s.Profiles) == 0 }

// read is a file of the repository.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exists tells of a file that is not there.
func exists(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
