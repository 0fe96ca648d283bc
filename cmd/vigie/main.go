// Command vigie is the whole system in one binary: `vigie up` starts
// everything, and each part has a subcommand of its own.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/vigie-dev/vigie/internal/cli"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/services"
)

func main() {
	kafka.BoundDecompression()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a graceful stop. Once it has come, signals
	// have their usual effect again: a second one exits at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, services.All(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
