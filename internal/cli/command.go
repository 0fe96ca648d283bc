// Package cli is the command vigie but for the process around it: flags,
// environment and output, in front of the packages that do the work.
//
// Each file has one subcommand, or one family of flags:
//
//	command.go      the tree of commands, and how a run ends
//	usage.go        what is wrong with what was typed or set, and what was meant
//	plain.go        what Go says of files, addresses and values, in words for people
//	hint.go         which setting fixes an error: the one place where they meet
//	up.go           vigie up: everything in one process, and the Prometheus that watches it
//	service.go      vigie commande and the others: one service alone
//	broker.go       vigie broker and vigie topics
//	reset.go        vigie reset
//	dlq.go          vigie dlq: which letters, and what happens to them
//	dlq_text.go     how letters are written, for people and for programs
//	audit.go        vigie audit
//	trace.go        vigie trace
//	instance.go     how tools find a running instance, and how its ports are moved
//	health.go       vigie health
//	doctor.go       vigie doctor; doctor_kafka.go has what it asks the brokers
//	demo.go         vigie demo, and the flags that vigie up --demo adds
//	top.go          vigie top
//	groups.go       vigie groups
//	fault.go        vigie fault, and what vigie up offers to break
//	load.go         vigie load
//	explain.go      vigie explain
//	alerts.go       vigie alerts, a receiver for Alertmanager
//	version.go      vigie version
//	flags.go        what flags have in common; storage, logs, profiles
//	flags_kafka.go  how Kafka is reached
//	flags_http.go   the services' HTTP edge, from both its sides
//	terminal.go     text for people: bars, questions, what is safe to print
//
// Which services there are is said by package services. The commands are given
// that registry as a value.
package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/telemetry"
)

// logDelay is how long a line of the log may wait to be written with others.
const logDelay = 50 * time.Millisecond

// Run is the program but for the process around it, on the services that it is
// given. It returns the exit status: 0 after a clean stop, 1 for an error, 2
// where the command line or a setting cannot be meant so. It has written the
// error to stderr in one line.
func Run(ctx context.Context, registry services.Registry, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// Every part logs through this one writer, so that lines do not mix. However the run ends, nothing stays in it.
	lines := telemetry.NewBatchingLineWriter(stderr, logDelay)
	defer func() { _ = lines.Close() }() // there is nobody to tell
	stderr = lines
	root := newCommand(registry, stdin, stdout, stderr)
	args, first, asked := withHelp(root, args)
	if !asked && readsSettings(root, first) {
		for _, warning := range warnOfVariables(root, os.Environ()) {
			fmt.Fprintln(stderr, "vigie: "+warning)
		}
	}
	err := root.Run(ctx, args)
	if err == nil {
		return 0
	}
	text, wrong := variableError(root, err.Error())
	if !wrong {
		text, wrong = plain(err), isMisuse(err)
	}
	line := printable(strings.ReplaceAll(text, "\n", "; ")) // joined errors have a line each
	fmt.Fprintf(stderr, "vigie: %s%s\n", line, hint(err))
	if wrong {
		return statusMisuse
	}
	return statusFailed
}

// readsSettings says whether a command's settings may come from the environment
// and are worth a warning: not those of a probe that runs every few seconds.
func readsSettings(root, c *cli.Command) bool {
	return c != root && c.Name != healthName && len(variables(c)) > 0
}

// variableError is flagError for a value that came from the environment; ok says
// whether the error is one of those.
func variableError(root *cli.Command, text string) (told string, ok bool) {
	rest, ok := strings.CutPrefix(text, "could not parse ")
	if !ok {
		return "", false
	}
	value, rest := cutQuoted(rest)
	parts := regexp.MustCompile(`(?s)^ as .* value from environment variable "(\w+)" for flag ([\w-]+): (.*)$`).FindStringSubmatch(rest)
	if parts == nil {
		return "", false
	}
	variable, name, why := parts[1], parts[2], parts[3]
	return fmt.Sprintf("%s %.64q (--%s): %s", variable, value, name, wanted(findFlag(root, name), value, why)), true
}

// newCommand makes the command tree. urfave/cli gives help, environment
// variables beside flags, and shell completion; it has no dependencies.
func newCommand(registry services.Registry, stdin io.Reader, stdout, stderr io.Writer) *cli.Command {
	commands := []*cli.Command{upCommand(registry)}
	for _, s := range registry {
		commands = append(commands, serviceCommand(s, registry))
	}
	commands = append(commands,
		brokerCommand(),
		topicsCommand(),
		resetCommand(registry),
		dlqCommand(),
		auditCommand(),
		alertsCommand(),
		healthCommand(registry),
		doctorCommand(registry),
		explainCommand(registry),
		traceCommand(),
		topCommand(registry),
		groupsCommand(),
		faultCommand(),
		demoCommand(registry),
		loadCommand(registry),
		versionCommand(),
	)
	root := &cli.Command{
		Name:                  "vigie",
		Usage:                 "a Kafka banking system whose telemetry can be believed",
		Description:           firstSteps(registry),
		Version:               programVersion(),
		EnableShellCompletion: true,
		Reader:                stdin,
		Writer:                stdout,
		ErrWriter:             stderr,
		// Errors are printed in one place, by run.
		ExitErrHandler: func(_ context.Context, _ *cli.Command, _ error) {},
		ArgValidator: func(_ context.Context, c *cli.Command) error {
			return cmp.Or(checkArguments(c), checkValues(c), checkSettings(c))
		},
		ConfigureShellCompletionCommand: ownUsageErrors,
		Commands:                        commands,
	}
	ownUsageErrors(root)
	return root
}

// firstSteps says what to try, with the first example that a service has.
func firstSteps(registry services.Registry) string {
	text := "Start everything with `vigie up`"
	for _, s := range registry {
		if s.Example != "" {
			return text + ", then try " + s.Name + ":\n\n   " + example(s, "http://"+s.Address)
		}
	}
	return text + "."
}

// example is a service's example, to paste.
func example(s services.Service, url string) string {
	return strings.ReplaceAll(s.Example, "{url}", url)
}
