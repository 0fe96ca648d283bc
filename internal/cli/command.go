package cli

import (
	"context"
	"io"
	"runtime/debug"

	"github.com/urfave/cli/v3"
)

// newCommand makes the command tree. urfave/cli gives help, environment
// variables beside flags, and shell completion; it has no dependencies.
func newCommand(stdout, stderr io.Writer) *cli.Command {
	root := &cli.Command{
		Name:  "vigie",
		Usage: "a Kafka banking system whose telemetry can be believed",
		Description: "Start everything with `vigie up`, then place an order:\n\n" +
			"   " + exampleCurl("http://127.0.0.1:3001"),
		Version:               version(),
		EnableShellCompletion: true,
		Suggest:               true,
		Writer:                stdout,
		ErrWriter:             stderr,
		// Errors are printed in one place, by run.
		ExitErrHandler: func(_ context.Context, _ *cli.Command, _ error) {},
		Commands: []*cli.Command{
			upCommand(),
			commandeCommand(),
			paiementCommand(),
			suiviCommand(),
			analyseurCommand(),
			brokerCommand(),
			topicsCommand(),
			resetCommand(),
			dlqCommand(),
			auditCommand(),
			alertsCommand(),
			healthCommand(),
			doctorCommand(),
			traceCommand(),
		},
	}
	// A wrong flag is one line too; --help is there for the rest.
	for _, c := range append(root.Commands, root) {
		c.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error { return err }
	}
	return root
}

// version is the module's version, or "dev" for a build from a work tree.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

// exampleCurl is an order to paste.
func exampleCurl(commande string) string {
	return `curl -X POST ` + commande + `/orders -H 'Content-Type: application/json' ` +
		`-d '{"userId":"user123","amount":100.50,"items":["item1","item2"]}'`
}
