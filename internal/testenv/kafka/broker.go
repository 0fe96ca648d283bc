//go:build unix

// Package kafka runs a real Apache Kafka broker, without containers, for tests
// that must not depend on the embedded one's idea of Kafka. It takes the jars
// from Maven Central into the user's cache, once; it needs java and mvn. Only
// tests use it.
//
//   - broker.go starts, kills, stops and restarts a broker.
//   - cluster.go does so with three of them, which are one cluster.
//   - settings.go prepares it: its configuration, and what a test may change in it.
//   - transaction.go writes what a stranger's transaction does.
//   - rights.go gives users rights, as documents have it done.
//   - raw.go writes batches that nobody can read, to a broker that takes them.
//   - embedded.go starts the embedded broker, where real Kafka is not asked for.
package kafka

import (
	"context"
	_ "embed" // for pom.xml
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

const (
	startTimeout = 3 * time.Minute // a loaded machine; usual are 2 to 10 s
	stopTimeout  = 2 * time.Minute
)

//go:embed pom.xml
var pom []byte

// Broker is a one-node Kafka of a test's own.
type Broker struct {
	java    proc.Java
	folder  string
	address string
	options options
	process *proc.Process
}

// Require skips a test where there is no java, no mvn or no download, or fails
// it in continuous integration.
func Require(t testing.TB) {
	t.Helper()
	_, err := install(t.Context())
	proc.Check(t, err)
}

// install brings the jars into the user's cache, once per pom.xml.
func install(ctx context.Context) (proc.Java, error) { return proc.FindJava(ctx, "kafka", pom) }

// Start starts a broker with an empty log in a folder of the test's, and ends
// it with the test, which has what [Require] requires. A test that fails shows
// the end of the broker's log.
func Start(t testing.TB) *Broker {
	t.Helper()
	return startWith(t, options{})
}

// StartGuarded is [Start] for a broker that also has a guarded listener, and
// returns the address of that.
func StartGuarded(t testing.TB, guard Guard) (b *Broker, address string) {
	t.Helper()
	guard.address = proc.Address(t)
	return startWith(t, options{guard: &guard}), guard.address
}

// StartMonitored is [Start] for a broker that also answers JMX, at the address
// that is returned, and runs on the garbage collector that a broker's start
// script chooses, so that the JVM's figures are those of a usual broker.
func StartMonitored(t testing.TB) (b *Broker, jmx string) {
	t.Helper()
	jmx = proc.Address(t)
	return startWith(t, options{jmx: jmx}), jmx
}

func startWith(t testing.TB, o options) *Broker {
	t.Helper()
	Require(t)
	b, err := create(t.Context(), t.TempDir(), o)
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
func New(ctx context.Context, folder string) (*Broker, error) { return create(ctx, folder, options{}) }

func create(ctx context.Context, folder string, o options) (*Broker, error) {
	java, err := install(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	b := &Broker{java: java, folder: folder, options: o}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	return b, b.Restart(ctx)
}

// Address is where clients connect, host:port; it stays over restarts.
func (b *Broker) Address() string { return b.address }

// Restart starts a broker that was killed or stopped, with the same port and
// log, and returns when it answers.
func (b *Broker) Restart(ctx context.Context) error {
	classes, err := b.classes(ctx)
	if err != nil {
		return err
	}
	return b.run(ctx, "-XX:SharedArchiveFile="+classes) // ignored where it is of no use
}

// classes is an archive of the classes that a broker loads, which halves the
// time of a start. A broker writes it when it stops, once per pom.xml. JEP 350
// describes it.
func (b *Broker) classes(ctx context.Context) (string, error) {
	return proc.Once(b.java.Name+".jsa", func(aside string) error {
		if err := b.run(ctx, "-XX:ArchiveClassesAtExit="+aside); err != nil {
			return err
		}
		if err := b.Stop(); err != nil {
			return err
		}
		if _, err := os.Stat(aside); err == nil {
			return nil
		}
		// Not every JVM can; an empty file says not to try again.
		if err := os.WriteFile(aside, nil, 0o600); err != nil {
			return fmt.Errorf("keep class archive: %w", err)
		}
		return nil
	})
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
func (b *Broker) Process() *proc.Process { return b.process }

// Processes are all of the broker: [Broker.Process].
func (b *Broker) Processes() []*proc.Process { return []*proc.Process{b.process} }

// LogTail is the end of the broker's log.
func (b *Broker) LogTail() string { return proc.Tail(b.path("broker.log")) }

func (b *Broker) path(name string) string { return filepath.Join(b.folder, name) }

// jvm are the options of every Java program here, in bounded memory.
func (b *Broker) jvm(extra ...string) []string {
	return append([]string{
		"-Xmx512m", "-Xlog:disable", "-Xlog:all=error:stderr",
		"-Dlog4j2.configurationFile=" + b.path("log4j2.properties"), "-cp", filepath.Join(b.java.Libs, "*"),
	}, extra...)
}

// run starts the broker and waits until it answers.
func (b *Broker) run(ctx context.Context, extra ...string) error {
	log, err := os.OpenFile(b.path("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open broker's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has a handle of its own
	b.process, err = proc.Start(proc.Spec{
		Name: "kafka", Path: b.java.Program, Args: append(b.jvm(append(extra, b.options.jvm()...)...), "kafka.Kafka", b.path("server.properties")), Stdout: log, Stderr: log,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := b.process.Await(ctx, b.answers); err != nil {
		b.process.Kill()
		return fmt.Errorf("start broker: %w\n%s", err, b.LogTail())
	}
	return nil
}

// answers asks for metadata: the broker has opened its log by then.
func (b *Broker) answers(ctx context.Context) error {
	// Nothing listens at first, which a client of Kafka's would complain about.
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
	if err != nil {
		return err
	}
	_ = connection.Close()
	client, err := kafka.Connect(ctx, kafka.Config{Brokers: []string{b.address}, ClientID: "testkafka", Patience: time.Second})
	if err != nil {
		return err
	}
	return client.Close()
}
