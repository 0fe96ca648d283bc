//go:build unix

package kafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

const (
	startTimeout = 2 * time.Minute // a loaded machine; usual are 2 to 10 s
	stopTimeout  = 30 * time.Second
	poll         = 50 * time.Millisecond
	heap         = "-Xmx512m"
)

// Broker is a one-node Kafka of a test's own.
type Broker struct {
	installation
	folder  string
	address string
	guard   *Guard
	process *testproc.Process
}

// Require skips a test where there is no java, no mvn or no download, or fails
// it in continuous integration.
func Require(t testing.TB) {
	t.Helper()
	_, err := install(t.Context())
	if errors.Is(err, errMissing) {
		testproc.Missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts a broker with an empty log in a folder of the test's, and ends
// it with the test, which has what [Require] requires. A test that fails shows
// the end of the broker's log.
func Start(t testing.TB) *Broker {
	t.Helper()
	return startWith(t, nil)
}

func startWith(t testing.TB, guard *Guard) *Broker {
	t.Helper()
	Require(t)
	b, err := create(t.Context(), t.TempDir(), guard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("the end of the broker's log:\n%s", b.LogTail())
		}
	})
	return b
}

// New is [Start] for a folder and a life of the caller's own: [Broker.Kill] or
// [Broker.Stop] ends it.
func New(ctx context.Context, folder string) (*Broker, error) {
	return create(ctx, folder, nil)
}

func create(ctx context.Context, folder string, guard *Guard) (*Broker, error) {
	i, err := install(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	b := &Broker{installation: i, folder: folder, guard: guard}
	if err := errors.Join(b.configure(), b.format(ctx)); err != nil {
		return nil, err
	}
	if err := b.archive(ctx); err != nil {
		return nil, err
	}
	return b, b.Restart(ctx)
}

// Address is where clients connect, host:port; it stays over restarts.
func (b *Broker) Address() string { return b.address }

// Restart starts a broker that was killed or stopped, with the same port and
// log, and returns when it answers.
func (b *Broker) Restart(ctx context.Context) error {
	return b.run(ctx, "-XX:SharedArchiveFile="+b.classes) // ignored where it is of no use
}

// Kill ends the broker as kill -9 does.
func (b *Broker) Kill() {
	if b.process != nil {
		b.process.Kill()
	}
}

// Stop ends the broker as its operator would.
func (b *Broker) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return b.process.Stop(ctx)
}

// Process is the broker's process of the moment, to freeze or to watch.
func (b *Broker) Process() *testproc.Process { return b.process }

// LogTail is the end of the broker's log.
func (b *Broker) LogTail() string { return testproc.Tail(b.path("broker.log")) }

func (b *Broker) path(name string) string { return filepath.Join(b.folder, name) }

func (b *Broker) configure() error {
	addresses, err := testproc.FreeAddresses(2)
	if err != nil {
		return err
	}
	broker, controller := addresses[0], addresses[1]
	b.address = broker
	for name, text := range map[string]string{
		"server.properties": properties(b.folder, broker, controller, b.guard), "log4j2.properties": string(logging),
	} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure broker: %w", err)
		}
	}
	return nil
}

// format prepares an empty log with a cluster id of its own.
func (b *Broker) format(ctx context.Context) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // ids that begin with a dash would be taken for an option
	args := append(b.jvm(), "kafka.tools.StorageTool", "format", "--standalone",
		"--cluster-id", base64.RawURLEncoding.EncodeToString(id[:]), "--config", b.path("server.properties"))
	args = append(args, b.guard.users()...)
	if output, err := exec.CommandContext(ctx, b.java, args...).CombinedOutput(); err != nil { //nolint:gosec // our own
		return fmt.Errorf("format broker's log: %w\n%s", err, output)
	}
	return nil
}

// jvm are the options of every Java program here: quick to start rather than
// quick in the long run, in bounded memory.
func (b *Broker) jvm(extra ...string) []string {
	return append([]string{
		heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable", "-Xlog:all=error:stderr",
		"-Dlog4j2.configurationFile=" + b.path("log4j2.properties"), "-cp", filepath.Join(b.libs, "*"),
	}, extra...)
}

// run starts the broker and waits until it answers.
func (b *Broker) run(ctx context.Context, extra ...string) error {
	log, err := os.OpenFile(b.path("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open broker's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has a handle of its own
	b.process, err = testproc.Start(testproc.Spec{
		Path: b.java, Args: append(b.jvm(extra...), "kafka.Kafka", b.path("server.properties")), Stdout: log, Stderr: log,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := b.await(ctx); err != nil {
		b.process.Kill()
		return fmt.Errorf("start broker: %w\n%s", err, b.LogTail())
	}
	return nil
}

// await waits for a metadata answer: the broker has its log in hand by then.
func (b *Broker) await(ctx context.Context) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-b.process.Done():
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		}
		connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", b.address)
		if err != nil {
			continue
		}
		_ = connection.Close()
		client, err := kafka.Connect(ctx, kafka.Config{Brokers: []string{b.address}, ClientID: "testkafka"}, time.Second)
		if err == nil {
			return client.Close()
		}
	}
}
