package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/services"
)

// ran is what a run of the command left.
type ran struct {
	status         int
	stdout, stderr string
}

func run(t *testing.T, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is not refused must not begin
	status := Run(ctx, services.All(), append([]string{"vigie"}, args...), strings.NewReader(""), &stdout, &stderr)
	return ran{status, stdout.String(), stderr.String()}
}

// checkMisuse checks that input was refused as every wrong input is: status 2,
// one line that has what is wanted, nothing where results go, and nothing of
// what Go's packages say.
func (r ran) checkMisuse(t *testing.T, want ...string) {
	t.Helper()
	if r.status != statusMisuse || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("status %d, %d bytes on stdout, want 2 and none; stderr: %s", r.status, len(r.stdout), r.stderr)
	}
	if leaked := goText().FindString(r.stderr); leaked != "" {
		t.Errorf("%q is Go's own text: %s", leaked, r.stderr)
	}
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("want %q in: %s", w, r.stderr)
		}
	}
}

// goText finds what Go's packages and the command's library say in errors.
func goText() *regexp.Regexp {
	return regexp.MustCompile(`strconv|time: |time\.Duration|invalid syntax|invalid duration|flag provided|could not parse|parsing|open /|no such file|dial tcp|context |%!|<nil>|no help topic`)
}

// leaves returns the words of every command that does something.
func leaves(c *cli.Command, words ...string) map[*cli.Command][]string {
	all := map[*cli.Command][]string{}
	for _, sub := range c.Commands {
		words := append(slices.Clone(words), sub.Name)
		if len(sub.Commands) == 0 {
			all[sub] = words
		}
		for c, words := range leaves(sub, words...) {
			all[c] = words
		}
	}
	return all
}

// Whatever the command, whichever the flag: what cannot be read is refused.
func TestEveryCommandRefusesWhatItCannotRead(t *testing.T) {
	t.Chdir(t.TempDir())
	root := newCommand(services.All(), nil, nil, nil)
	commands := leaves(root)
	if len(commands) < 15 {
		t.Fatalf("%d commands", len(commands))
	}
	checked := map[string]bool{} // a flag that many commands have is the same on each
	for c, words := range commands {
		name := strings.Join(words, " ")
		with := func(more ...string) ran { return run(t, append(slices.Clone(words), more...)...) }
		with("--nothing-like-it").checkMisuse(t, name+": there is no flag --nothing-like-it", "`vigie "+name+" --help`")
		if c.ArgsUsage == "" {
			with("surplus").checkMisuse(t, name+" takes no arguments", `"surplus"`)
		}
		for _, f := range c.Flags {
			if !checked[f.Names()[0]] {
				checked[f.Names()[0]] = true
				checkFlag(t, name, f, with)
			}
		}
	}
}

// checkFlag gives a flag values that it cannot take, on the command line and in
// the environment, misspells it, and leaves its value out.
func checkFlag(t *testing.T, command string, f cli.Flag, with func(...string) ran) {
	t.Helper()
	flag := "--" + f.Names()[0]
	misspelt := flag[:3] + flag[4:] // the second letter is missing
	with(misspelt).checkMisuse(t, command+": there is no flag "+misspelt, "did you mean "+flag+"?")
	var wrong []string
	switch f.Get().(type) {
	case bool:
		wrong = []string{"maybe"}
	case int, uint64, float64:
		wrong = []string{"many", "12x", "99999999999999999999999999x"}
	case time.Duration:
		wrong = []string{"soon", "5", "-5m", "1.5d"}
	}
	for _, value := range wrong {
		with(flag+"="+value).checkMisuse(t, command+": "+flag, `"`+value+`"`, "want ")
		for _, variable := range f.(cli.DocGenerationFlag).GetEnvVars() {
			if err := os.Setenv(variable, value); err != nil {
				t.Fatal(err)
			}
			with().checkMisuse(t, variable+` "`+value+`"`, flag, "want ")
			if err := os.Unsetenv(variable); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, isBool := f.Get().(bool); !isBool {
		with(flag).checkMisuse(t, command+": "+flag+" needs a value: ")
	}
}

func TestWhatCannotBeMeant(t *testing.T) {
	t.Chdir(t.TempDir())
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for line, want := range map[string][]string{
		"pu":                   {`no command "pu"`, "did you mean up?"},
		"audti":                {"did you mean audit?"},
		"nothing-like-it":      {`no command "nothing-like-it"`, "vigie --help"},
		"help audti":           {"did you mean audit?"},
		"--data x up":          {"no flag --data", "vigie --help"},
		"dlq shwo":             {`dlq has no command "shwo"`, "did you mean show?"},
		"dlq shwo --json":      {"did you mean show?"},
		"dlq frobnicate":       {"it has list, show, replay and purge"},
		"help dlq shwo":        {"did you mean show?"},
		"dlq help shwo":        {"did you mean show?"},
		"completion fihs":      {"did you mean fish?"},
		"audit --brokers x":    {"did you mean --kafka-brokers?"},
		"audit --data --json":  {"--data needs a value, got the flag --json"},
		"up --log-level wran":  {"want one of debug, info, warn, error", "did you mean warn?"},
		"up --log-format xml":  {"want one of auto, text, json"},
		"up --suivi-addr 3002": {"--suivi-addr", "host:port"},
		"up --suivi-addr 127.0.0.1:0,127.0.0.1:99999":           {"--suivi-addr", "host:port"},
		"up --http-max-concurrent 0":                            {"--http-max-concurrent", "above 0"},
		"up --http-max-connections -1":                          {"--http-max-connections", "above 0"},
		"up --http-tls-cert-file x --broker-addr 127.0.0.1:0":   {"--http-tls-key-file", "both or none"},
		"up --database-max-connections 0":                       {"above 0"},
		"up --faults --sentinelle-addr 0.0.0.0:3005":            {"needs --sentinelle-tokens-file"},
		"up --retention 1h":                                     {"want at least 35d"},
		"top --json":                                            {"needs --once"},
		"top --every 0":                                         {"above 0"},
		"up --paiement-reject-rate 1.5":                         {"between 0 and 1"},
		"up --paiement-error-rate NaN":                          {"between 0 and 1"},
		"up --paiement-decide-from then":                        {"--paiement-decide-from"},
		"commande --kafka-brokers nowhere":                      {"--kafka-brokers", "host:port"},
		"commande --database-url x --database-url-file y":       {"--database-url", "give one"},
		"commande --database-url-file " + missing:               {"--database-url-file", "does not exist"},
		"commande --kafka-tls-ca-file x":                        {"KAFKA_TLS", "not switched on"},
		"commande --kafka-sasl-user u":                          {"KAFKA_SASL_MECHANISM", "no mechanism"},
		"commande --kafka-sasl-mechanism x --kafka-sasl-user u": {"PLAIN"},
		"commande --kafka-tls --kafka-tls-ca-file " + missing:   {"does not exist"},
		"commande --kafka-tls --kafka-tls-ca-file " + secret:    {"no certificate in it"},
		"audit --limit -1":                                      {"--limit", "not negative"},
		"audit --since yesterday":                               {"--since", "RFC 3339", "7d"},
		"audit --since 2999-01-01T00:00:00Z":                    {"--since", "not in the future"},
		"dlq show":                                              {"dlq show takes one id", "orders.dlq/1/42"},
		"dlq show orders.dlq/1/42 orders.dlq/1/43":              {"dlq show takes one id"},
		"dlq show order-1":                                      {`"order-1"`, "orders.dlq/1/42"},
		"dlq show orders.dql/1/42":                              {"did you mean orders.dlq?"},
		"dlq show orders.created/1/42":                          {"orders.dlq and payments.dlq"},
		"dlq list orders.dlq/1/42":                              {"dlq list takes no arguments"},
		"dlq list --reason malfromed":                           {"want one of", "did you mean malformed?"},
		"dlq list --topic orders":                               {"orders.dlq"},
		"dlq list --older-than 2d --newer-than 1h":              {"older than 2d", "newer than 1h"},
		"dlq replay": {"dlq replay", "--all-letters"},
		"dlq replay --all-letters --order order-1": {"--all-letters", "leave it out"},
		"dlq purge":                               {"dlq purge", "--all-letters"},
		"dlq purge --all-letters --json":          {"--yes"},
		"health localhost":                        {`"localhost"`, "http://127.0.0.1:3001"},
		"health --timeout 0":                      {"--timeout", "above 0"},
		"health --http-tls-ca-file " + missing:    {"HTTP_TLS_CA_FILE", "does not exist"},
		"doctor --prometheus-url prometheus:9090": {"--prometheus-url", "http://127.0.0.1:9090"},
		"doctor --timeout 0s":                     {"above 0"},
		"trace":                                   {"trace takes one order's id"},
		"trace order-1 order-2":                   {"trace takes one order's id"},
		"trace order/1":                           {"order-1"},
		"trace 4bf92f3577b34da6a3ce929d0e0e4736 --jaeger-url ''":     {"Jaeger"},
		"explain ConsumerLgaHigh":                                    {"did you mean ConsumerLagHigh?"},
		"explain nothing":                                            {"no alert", "`vigie explain` lists them"},
		"explain DeadLetters ServiceDown":                            {"explain takes one alert"},
		"version --jsn":                                              {"did you mean --json?"},
		"reset --kafka-brokers 127.0.0.1:9092 --kafka-tls-ca-file x": {"KAFKA_TLS"},
	} {
		t.Run(line, func(t *testing.T) {
			args := strings.Fields(line)
			for i, a := range args {
				args[i] = strings.Trim(a, "'")
			}
			run(t, args...).checkMisuse(t, want...)
		})
	}
}

func TestHelpWorksEverywhere(t *testing.T) {
	for line, want := range map[string]string{
		"help": "COMMANDS:", "h": "COMMANDS:", "--help": "COMMANDS:", "": "COMMANDS:",
		"help audit": "vigie audit - ", "audit help": "vigie audit - ", "audit --help": "vigie audit - ", "audit -h": "vigie audit - ",
		"help dlq": "vigie dlq - ", "dlq help": "vigie dlq - ", "dlq": "vigie dlq - ",
		"help dlq show": "vigie dlq show - ", "dlq help show": "vigie dlq show - ", "dlq show help": "vigie dlq show - ", "dlq show --help": "vigie dlq show - ",
		"dlq show orders.dlq/1/42 --help": "vigie dlq show - ", "trace help": "vigie trace - ",
	} {
		if r := run(t, strings.Fields(line)...); r.status != 0 || !strings.Contains(r.stdout, want) || r.stderr != "" {
			t.Errorf("vigie %s = %d, want %q in:\n%s%s", line, r.status, want, r.stdout, r.stderr)
		}
	}
}

// What the environment sets under one of our prefixes, and nothing reads, is
// named; what others set for themselves is not.
func TestUnknownVariablesAreNamed(t *testing.T) {
	root := newCommand(services.All(), nil, nil, nil)
	for setting, want := range map[string]string{
		"PAIEMENT_REJECT_RTE=0.5":               "PAIEMENT_REJECT_RTE is set, and no setting has that name; did you mean PAIEMENT_REJECT_RATE?",
		"VIGIE_DATE=x":                          "VIGIE_DATE is set, and no setting has that name; did you mean VIGIE_DATA?",
		"SUIVI_COLOUR=blue":                     "SUIVI_COLOUR is set, and no setting has that name; docs/configuration.md lists them",
		"SENTINELLE_ADR=x":                      "SENTINELLE_ADR is set, and no setting has that name; did you mean SENTINELLE_ADDR?",
		"KAFKA_BROKER=x":                        "KAFKA_BROKER is set, and no setting has that name; did you mean KAFKA_BROKERS?",
		"KAFKA_HEAP_OPTS=-Xmx1g":                "",
		"KAFKA_BROKERS=x":                       "",
		"VIGIE_FAULT=after-store#1":             "",
		"COMMANDE_SERVICE_HOST=10.0.0.1":        "",
		"COMMANDE_SERVICE_PORT_HTTP=3001":       "",
		"COMMANDE_PORT=tcp://10.0.0.1:3001":     "",
		"COMMANDE_PORT_3001_TCP_ADDR=10.0.0.1":  "",
		"KAFKA_PORT_9092_TCP=tcp://10.0.0.1:92": "",
		"PATH=/bin":                             "",
	} {
		if got := strings.Join(warnOfVariables(root, []string{setting}), "\n"); got != want {
			t.Errorf("%s: %q, want %q", setting, got, want)
		}
	}
}

// A variable that is misspelt is a warning, and the command goes on.
func TestAMisspeltVariableIsAWarning(t *testing.T) {
	t.Setenv("PAIEMENT_LATENCE", "1s")
	want := "vigie: PAIEMENT_LATENCE is set, and no setting has that name; did you mean PAIEMENT_LATENCY?\n"
	if r := run(t, "dlq", "show"); r.status != statusMisuse || !strings.HasPrefix(r.stderr, want) {
		t.Errorf("%+v, want %q first", r, want)
	}
	for _, line := range []string{"version", "help dlq", "health nowhere"} {
		if r := run(t, strings.Fields(line)...); strings.Contains(r.stderr, "PAIEMENT_LATENCE") {
			t.Errorf("vigie %s: %s", line, r.stderr)
		}
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"pu": "up", "shwo": "show", "lsit": "list", "audit": "audit", "brokers": "kafka-brokers", "rplay": "replay",
		"x": "", "qqqq": "", "frobnicate": "", "": "", "SHOW": "show",
	} {
		candidates := []string{"up", "show", "list", "audit", "replay", "kafka-brokers", "help"}
		if got := nearest(word, candidates); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
