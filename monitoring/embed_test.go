package monitoring_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/monitoring"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// Whatever is added to the folder, a program gets it too.
func TestFilesAreWhole(t *testing.T) {
	want := 0
	for _, pattern := range []string{
		"prometheus.yml", "rules/*.yml", "alertmanager.yml", "alertmanager/*", "runbooks/*",
		"grafana/dashboards/*", "grafana/provisioning/*/*",
	} {
		for _, file := range files(t, pattern) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := monitoring.Files.ReadFile(filepath.ToSlash(file)); err != nil || string(got) != string(text) {
				t.Errorf("%s is not embedded as it is, %v", file, err)
			}
			want++
		}
	}
	got := 0
	err := fs.WalkDir(monitoring.Files, ".", func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			got++
		}
		return err
	})
	if err != nil || got != want {
		t.Errorf("%d files are embedded, want %d, %v", got, want, err)
	}
}
