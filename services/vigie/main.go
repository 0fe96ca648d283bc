// Command vigie is the whole system in one binary: `vigie up` starts
// everything, and each part has a subcommand of its own.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a graceful stop. Once it has come, signals
	// have their usual effect again: a second one exits at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run is the program but for the process around it. It returns the exit
// status: 0 after a clean stop, 1 for an error, which it has written to stderr
// in one line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := newCommand(stdout, stderr).Run(ctx, args); err != nil {
		line := strings.ReplaceAll(err.Error(), "\n", "; ") // joined errors have a line each
		fmt.Fprintf(stderr, "vigie: %s%s\n", line, hint(err))
		return 1
	}
	return 0
}
