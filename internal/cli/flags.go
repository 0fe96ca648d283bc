package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services/sentinelle"
	"github.com/vigie-dev/vigie/telemetry"
)

// Names of flags that more than one place reads.
const (
	flagJSON    = "json"
	flagLimit   = "limit"
	flagSalvage = "salvage"
	flagYes     = "yes"

	flagData                = "data"
	variableData            = "VIGIE_DATA"
	defaultData             = "./data"
	flagDatabase            = "database-url"
	flagDatabaseConnections = "database-max-connections"
	flagRetention           = "retention"

	flagLang      = "lang"
	flagLogFormat = "log-format"
	flagLogLevel  = "log-level"
	flagSampling  = "log-sampling"
	flagStop      = "stop-timeout"
	flagPprof     = "pprof-addr"

	// flagFileSuffix makes the name of the flag that names a file with what
	// another flag would say itself.
	flagFileSuffix = "-file"
)

// env derives a flag's environment variable from its name.
func env(flag string) cli.ValueSourceChain { return cli.EnvVars(variable(flag)) }

func variable(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

// oneOf accepts the values given.
func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if slices.Contains(values, v) {
			return nil
		}
		text := "want one of " + strings.Join(values, ", ")
		if like := nearest(v, values); like != "" {
			text += "; " + didYouMean(like)
		}
		return errors.New(text)
	}
}

func notNegative(n int) error {
	if n < 0 {
		return errors.New("want a number that is not negative")
	}
	return nil
}

func positive(n int) error {
	if n < 1 {
		return errors.New("want a number above 0")
	}
	return nil
}

// positiveDuration is for what ends at once when it is 0.
func positiveDuration(d time.Duration) error {
	if d == 0 {
		return errors.New("want a time above 0, such as 5s")
	}
	return nil
}

// anAddress accepts HOST:PORT, several with commas between them, or nothing.
func anAddress(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		_, port, err := net.SplitHostPort(one)
		if _, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil {
			return fmt.Errorf("want host:port, such as %s", defaultBroker)
		}
	}
	return nil
}

// aURL accepts a URL of HTTP, or nothing.
func aURL(text string) error {
	target, err := url.Parse(text)
	if text != "" && (err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https") {
		return errors.New("want a URL such as http://127.0.0.1:9090, or nothing")
	}
	return nil
}

// secretOf reads a secret from a flag, or from the file that its partner
// names.
func secretOf(c *cli.Command, flag string) (secret.Value, error) {
	path := c.String(flag + flagFileSuffix)
	if path == "" {
		return secret.Of(c.String(flag)), nil
	}
	if c.String(flag) != "" {
		return secret.Value{}, misusef("there are both --%s and --%[1]s%s; give one", flag, flagFileSuffix)
	}
	v, err := secret.Read(path)
	if err != nil {
		return v, misusef("--%s%s (%s): %w", flag, flagFileSuffix, variable(flag+flagFileSuffix), err)
	}
	return v, nil
}

func jsonFlag(usage string) cli.Flag { return &cli.BoolFlag{Name: flagJSON, Usage: usage} }

func yesFlag() cli.Flag { return &cli.BoolFlag{Name: flagYes, Usage: "do not ask"} }

// langFlag says in which language people are told something: on the page, for programs and
// logs are English.
func langFlag() cli.Flag {
	names := sentinelle.Languages()
	return &cli.StringFlag{
		Name: flagLang, Sources: cli.EnvVars("VIGIE_LANG"), Category: sentinelle.Name,
		Validator: func(text string) error {
			if text == "" {
				return nil
			}
			return oneOf(names...)(text)
		},
		Usage: "the page's `LANGUAGE`, " + strings.Join(names, " or ") + " (default: the one that LC_ALL, LC_MESSAGES or LANG names, else English)",
	}
}

// language is the one that is set, or else that of the environment.
func language(c *cli.Command) string {
	if set := c.String(flagLang); set != "" {
		return set
	}
	return i18n.Wanted(os.Getenv, sentinelle.Languages())
}

// storageFlags say where services keep their state, how, and how long.
func storageFlags() []cli.Flag {
	return append(databaseFlags(),
		&cli.IntFlag{
			Name: flagDatabaseConnections, Sources: env(flagDatabaseConnections), Value: storage.DefaultConnections, Category: "Storage",
			Usage: "the most connections to PostgreSQL of each service's instance", Validator: positive,
		},
		retentionFlag(),
	)
}

// databaseFlags say where state is kept.
func databaseFlags() []cli.Flag {
	return []cli.Flag{
		dataFlag(),
		&cli.StringFlag{
			Name: flagDatabase, Sources: env(flagDatabase), Category: "Storage", HideDefault: true,
			Usage: "where the services keep their state: sqlite:FOLDER (default: the data folder) or, for several instances, " +
				"postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full",
		},
		&cli.StringFlag{
			Name: flagDatabase + flagFileSuffix, Sources: env(flagDatabase + flagFileSuffix), Category: "Storage",
			Usage: "`FILE` with that URL; better where it has a password, since others may see a process's arguments",
		},
	}
}

func dataFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagData, Sources: cli.EnvVars(variableData), Value: defaultData, Category: "Storage",
		Usage: "`FOLDER` for the embedded broker's log and the services' state",
	}
}

func retentionFlag() cli.Flag {
	return &duration.Flag{
		Name: flagRetention, Sources: env(flagRetention), Value: service.DefaultRetention, Category: "Storage", Validator: outlivesTopics,
		Usage: "how long decided orders are kept, at least the " + duration.Text(longestKept()) + " that topics keep records",
	}
}

// longestKept is how long the topics keep records, the one that does longest.
// Until then a letter can still be replayed.
func longestKept() time.Duration {
	var longest time.Duration
	for _, t := range banking.Topics() {
		longest = max(longest, t.Retention)
	}
	return longest
}

func outlivesTopics(d time.Duration) error {
	if d < longestKept() {
		return fmt.Errorf("want at least %s, as long as the topics keep records", duration.Text(longestKept()))
	}
	return nil
}

// databaseURL is where a command's flags say that state is kept. It may contain a
// password: what is shown is [storage.Redacted].
func databaseURL(c *cli.Command) (string, error) {
	url, err := secretOf(c, flagDatabase)
	if err != nil {
		return "", err
	}
	if url.Present() {
		return url.Reveal(), nil
	}
	return "sqlite:" + c.String(flagData), nil
}

// stopFlag bounds a graceful stop; a supervisor's own limit is usually 10 s.
func stopFlag() cli.Flag {
	return &duration.Flag{
		Name: flagStop, Sources: env(flagStop), Value: 9 * time.Second, Category: "Process",
		Usage: "how long a stop may take to finish what is under way; keep it below your supervisor's own limit",
	}
}

// logFormatAuto is the same as text: lines for people, coloured on a terminal.
const logFormatAuto = "auto"

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagLogFormat, Sources: env(flagLogFormat), Value: logFormatAuto, Category: "Logs",
			Usage: "auto, text (coloured on a terminal) or json", Validator: oneOf(logFormatAuto, telemetry.LogText, telemetry.LogJSON),
		},
		&cli.StringFlag{
			Name: flagLogLevel, Sources: env(flagLogLevel), Value: "info", Category: "Logs",
			Usage: "debug, info, warn or error", Validator: oneOf("debug", "info", "warn", "error"),
		},
	}
}

// samplingFlag is for services: other parts have no lines of single orders.
func samplingFlag() cli.Flag {
	return &cli.FloatFlag{
		Name: flagSampling, Sources: env(flagSampling), Value: 1, Category: "Logs",
		Usage: "share of the orders, 0 to 1, whose INFO lines are logged; log_lines_left_out_total counts those of the others. Warnings and errors are always logged",
		Validator: func(share float64) error {
			if share >= 0 && share <= 1 { // a NaN is neither
				return nil
			}
			return errors.New("want a share between 0 and 1")
		},
	}
}

// logFormat returns the log's format for telemetry, which does not know what it
// writes to. Who sets NO_COLOR wants no colours anywhere; see
// https://no-color.org.
func logFormat(c *cli.Command) string {
	switch {
	case c.String(flagLogFormat) == telemetry.LogJSON:
		return telemetry.LogJSON
	case os.Getenv("NO_COLOR") == "" && isTerminal(c.Root().ErrWriter):
		return telemetry.LogColored
	default:
		return telemetry.LogText
	}
}

// logLevel is the level that the flag asks for.
func logLevel(c *cli.Command) (level slog.Level) {
	_ = level.UnmarshalText([]byte(c.String(flagLogLevel))) // validated with the flag
	return level
}

func pprofFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagPprof, Sources: cli.EnvVars("VIGIE_PPROF_ADDR"), Category: "Profiling",
		Usage: "loopback `HOST:PORT` that serves this process's profiles under /debug/pprof (default: none)",
	}
}
