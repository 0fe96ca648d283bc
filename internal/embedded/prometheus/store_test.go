//go:build !race || whole

package prometheus

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/vigie-dev/vigie/monitoring"
)

// runVariable has the test's program run a server on a folder until it is killed.
const runVariable = "PROMETHEUS_TEST_FOLDER"

func run(dir string) {
	files := os.DirFS(os.Getenv(runVariable + "_FILES"))
	s, err := Start(context.Background(), Config{Address: "127.0.0.1:0", Dir: dir, Files: files})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	select {}
}

// What was scraped is there after kill -9, and scraping goes on.
func TestSamplesSurviveKill(t *testing.T) {
	t.Parallel()
	dir, files := t.TempDir(), t.TempDir()
	if err := os.CopyFS(files, fast(t)); err != nil {
		t.Fatal(err)
	}
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), runVariable+"="+dir, runVariable+"_FILES="+files)
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(url, "http") {
		t.Fatal(url, err)
	}
	killed := &running{Server: &Server{}, API: clientOf(t, strings.TrimSpace(url)), log: newOutput()}
	killed.until(t, `count_over_time(up{job="prometheus"}[1h]) >= 2`, some)
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = program.Wait()
	end := time.Now()

	s := start(t, Config{Dir: dir})
	value, _, _, err := s.Query(t.Context(), `count_over_time(up{job="prometheus"}[1h])`, end)
	if v, ok := value.(model.Vector); err != nil || !ok || len(v) != 1 || v[0].Value < 2 {
		t.Errorf("after the kill: %v, %v", value, err)
	}
	s.until(t, fmt.Sprintf(`timestamp(up{job="prometheus"}) > %d`, end.Unix()+1), some)
	if _, err := os.Stat(filepath.Join(dir, asideFolder)); err == nil {
		t.Errorf("something was set aside: %s", s.log)
	}
}

// fill stores samples of the hours before now, as blocks, and closes.
func fill(t *testing.T, dir string) (blocks []string) {
	t.Helper()
	const hours = 8
	opts := tsdb.DefaultOptions()
	opts.NoLockfile = true
	db, err := tsdb.Open(dir, nil, nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := db.Appender(t.Context())
	now := time.Now()
	for at := now.Add(-hours * time.Hour); at.Before(now); at = at.Add(time.Minute) {
		if _, err := a.Append(0, labels.FromStrings("__name__", "kept"), at.UnixMilli(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, b := range db.Blocks() {
		blocks = append(blocks, b.Dir())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(blocks) < 2 {
		t.Fatalf("blocks %v", blocks)
	}
	return blocks
}

// flip changes a byte of a file, counted from its end.
func flip(t *testing.T, path string, fromEnd int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-fromEnd] ^= 0xff
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What is damaged is told by its path, kept aside, and never stops the start; the
// rest is there as before.
func TestWhatIsDamagedIsSetAside(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir, block string) (path string)
		aside  string // a pattern of what is kept
	}{
		{"a block's index", func(t *testing.T, _, block string) string {
			flip(t, filepath.Join(block, "index"), 3)
			return block
		}, "*-01*/index"},
		{"a block's description", func(t *testing.T, _, block string) string {
			if err := os.WriteFile(filepath.Join(block, "meta.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			return block
		}, "*-01*/meta.json"},
		{"a block's samples", func(t *testing.T, _, block string) string {
			flip(t, filepath.Join(block, "chunks", "000001"), 2)
			return block
		}, "*-01*/chunks"},
		{"the log", func(t *testing.T, dir, _ string) string {
			path := filepath.Join(dir, walFolder, "00000001")
			if _, err := os.Stat(path); err != nil {
				path = filepath.Join(dir, walFolder, lastOf(t, filepath.Join(dir, walFolder)))
			}
			if err := os.WriteFile(path, []byte("not a record at all, but long enough to be one"), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, "*-wal/0*"},
		{"the log's checkpoint", func(t *testing.T, dir, _ string) string {
			path := filepath.Join(dir, walFolder, "checkpoint.00000000")
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, "00000000"), []byte("not a record"), 0o600); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, walFolder)
		}, "*-wal/checkpoint.00000000/00000000"},
		{"the newest samples", func(t *testing.T, dir, _ string) string {
			path := filepath.Join(dir, headFolder)
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"000001", "000007"} {
				if err := os.WriteFile(filepath.Join(path, name), []byte(strings.Repeat("not chunks", 100)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return path
		}, "*-chunks_head/000007"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			blocks := fill(t, dir)
			path := test.damage(t, dir, blocks[0])
			s := start(t, Config{Dir: dir})
			s.log.until(t, "set aside", path)
			if kept, err := filepath.Glob(filepath.Join(dir, asideFolder, test.aside)); err != nil || len(kept) == 0 {
				t.Errorf("nothing is kept as %s: %v\n%s", test.aside, err, s.log)
			}
			value, _, _, err := s.Query(t.Context(), "count_over_time(kept[30m])", time.Now().Add(-150*time.Minute))
			if v, ok := value.(model.Vector); err != nil || !ok || len(v) != 1 {
				t.Errorf("of what is whole: %v, %v", value, err)
			}
			s.until(t, `up{job="prometheus"}`, some) // it goes on
		})
	}
}

func lastOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, e := range entries {
		if !e.IsDir() {
			last = e.Name()
		}
	}
	return last
}

// A disk that is full, or a folder that is not ours, is no damage.
func TestSurroundingsAreNoDamage(t *testing.T) {
	if os.Getuid() == 0 {
		if !surroundings(fmt.Errorf("open: %w", fs.ErrPermission)) {
			t.Error("a folder that may not be read counts as damaged")
		}
		return
	}
	dir := t.TempDir()
	block := fill(t, dir)[0]
	if err := os.Chmod(block, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(block, 0o700) })
	if _, err := Start(t.Context(), Config{Address: "127.0.0.1:0", Dir: dir, Files: monitoring.Files, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a folder that may not be read was taken for an empty one")
	}
}
