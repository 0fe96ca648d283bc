package instance

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("VIGIE_TEST_INSTANCE"); dir != "" {
		announceUntilKilled(dir)
	}
	leaks.Main(m)
}

func some() Instance {
	return Instance{
		Version: "test", PID: os.Getpid(), Started: time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC),
		Kafka: []string{"127.0.0.1:19092"}, OwnBroker: true, Page: "http://127.0.0.1:4005", Prometheus: "http://127.0.0.1:4090",
		Services: []Service{{"commande", "http://127.0.0.1:4001"}, {"suivi", "http://127.0.0.1:4002"}},
	}
}

func TestAnInstanceIsFoundWhileItRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Errorf("a folder that is not there: %v", err)
	}
	running, err := Announce(t.Context(), dir, some())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil || !reflect.DeepEqual(got, some()) {
		t.Errorf("read %+v, %v", got, err)
	}
	if got.URL("suivi") != "http://127.0.0.1:4002" || got.URL("paiement") != "" {
		t.Errorf("suivi is at %q, paiement at %q", got.URL("suivi"), got.URL("paiement"))
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Errorf("after its stop: %v", err)
	}
	again, err := Announce(t.Context(), dir, some())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil { // as somebody does who begins anew
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// A folder has one instance; what the first said stays.
func TestAFolderHasOneInstance(t *testing.T) {
	dir := t.TempDir()
	running, err := Announce(t.Context(), dir, some())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = running.Close() }()
	other := some()
	other.PID = 1
	if _, err := Announce(t.Context(), dir, other); !errors.Is(err, ErrRunning) {
		t.Errorf("a second instance: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Announce(stopped, dir, other); !errors.Is(err, context.Canceled) {
		t.Errorf("a second instance that is stopped: %v", err)
	}
	if got, err := Read(dir); err != nil || got.PID != os.Getpid() {
		t.Errorf("read %+v, %v", got, err)
	}
}

// announceUntilKilled is the process that the next test kills.
func announceUntilKilled(dir string) {
	i := some()
	if _, err := Announce(context.Background(), dir, i); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("ready\n")
	select {}
}

// A process that was killed leaves its file, which nobody takes for an instance,
// and which the next one replaces.
func TestAKilledInstanceIsNotThere(t *testing.T) {
	dir := t.TempDir()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), "VIGIE_TEST_INSTANCE="+dir)
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil || string(line) != "ready" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := Read(dir); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	left, err := Read(dir)
	if !errors.Is(err, ErrEnded) || left.PID != command.Process.Pid && !strings.Contains(err.Error(), "process") {
		t.Errorf("after kill -9: %+v, %v", left, err)
	}
	running, err := Announce(t.Context(), dir, some())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
}

// Tools look while an instance starts: none keeps it from that, and none sees
// half of a file.
func TestToolsAreNotInTheWay(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var tools sync.WaitGroup
	for range 4 {
		tools.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := Read(dir); err == nil && got.Page == "" || err != nil && !errors.Is(err, ErrNone) && !errors.Is(err, ErrEnded) {
					t.Errorf("read %+v, %v", got, err)
				}
			}
		})
	}
	for range 20 {
		running, err := Announce(t.Context(), dir, some())
		if err != nil {
			t.Error(err)
			break
		}
		if err := running.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	tools.Wait()
}

// What is not an instance's file is an error that names it.
func TestAFileThatIsNoInstance(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), file) || errors.Is(err, ErrNone) {
		t.Errorf("a file of half an object: %v", err)
	}
	if _, err := Announce(t.Context(), filepath.Join(dir, file, "data"), some()); err == nil {
		t.Error("an instance is announced below a file")
	}
}
