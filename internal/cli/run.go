// Package cli is the command vigie but for the process around it.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// Run is the program but for the process around it. It returns the exit
// status: 0 after a clean stop, 1 for an error, which it has written to stderr
// in one line.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := newCommand(stdout, stderr).Run(ctx, args); err != nil {
		line := strings.ReplaceAll(err.Error(), "\n", "; ") // joined errors have a line each
		fmt.Fprintf(stderr, "vigie: %s%s\n", line, hint(err))
		return 1
	}
	return 0
}
