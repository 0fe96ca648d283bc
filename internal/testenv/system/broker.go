//go:build unix

package system

import (
	"context"
	"regexp"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// Broker is what the services meet through, and can be crashed too: the
// embedded broker or a real Kafka, which testkafka runs.
type Broker interface {
	// Address is where clients connect; it stays over restarts.
	Address() string
	// Restart starts a broker that was killed or stopped.
	Restart(ctx context.Context) error
	// Kill ends it as kill -9 does.
	Kill()
	// Stop ends it as its operator would.
	Stop() error
	// Process is its process of the moment.
	Process() *testproc.Process
	// LogTail is the end of its log.
	LogTail() string
}

// Embedded is `vigie broker` as a process of its own.
type Embedded struct {
	Program
	address string
}

// StartEmbedded starts the embedded broker on a data folder.
func StartEmbedded(ctx context.Context, binary, data, logs string) (*Embedded, error) {
	address, err := testproc.FreeAddress()
	if err != nil {
		return nil, err
	}
	b := &Embedded{address: address, Program: Program{
		Name: "broker", binary: binary, log: logFile(logs, "broker"),
		args: []string{"broker", "--data", data, "--broker-addr", address},
		up:   regexp.MustCompile(`listens on \S+`),
	}}
	return b, b.Start(ctx)
}

// Address implements [Broker].
func (b *Embedded) Address() string { return b.address }

// Restart implements [Broker].
func (b *Embedded) Restart(ctx context.Context) error { return b.Start(ctx) }

// Stop implements [Broker].
func (b *Embedded) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return b.Process().Stop(ctx)
}
