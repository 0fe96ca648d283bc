package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/load"
	"github.com/vigie-dev/vigie/internal/loopback"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/suivi"
	scenarios "github.com/vigie-dev/vigie/test/load"
)

// Names of the load command's flags.
const (
	flagRate      = "rate"
	flagLoadFor   = "for"
	flagShape     = "shape"
	flagKnee      = "find-knee"
	flagScenario  = "scenario"
	flagStep      = "step"
	flagMix       = "mix"
	flagSeed      = "seed"
	flagUsers     = "users"
	flagPoisson   = "poisson"
	flagInFlight  = "in-flight"
	flagNoAudit   = "no-audit"
	flagAnyHost   = "yes-this-host"
	flagHTML      = "html"
	flagAvailable = "want-available"
	flagFast      = "want-fast"
	flagLatency   = "want-latency"
	flagInTime    = "want-in-time"
	flagVisible   = "want-visible"
	flagGrowth    = "want-growth"
)

const (
	defaultRate   = 20.0
	defaultLength = 30 * time.Second
	defaultStep   = 10 * time.Second
)

// errNotPassed: the load's verdict is not that all is well.
var errNotPassed = errors.New("the load's verdict")

func loadCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name: "load", Usage: "send the load of many users, and say whether the bank kept its promises", HideHelpCommand: true,
		Description: "Sends requests at a rate, whether or not earlier ones have been answered, and measures each from when\n" +
			"it was due. Follows a sample of its orders until they are decided and visible. In the end it asks for\n" +
			"every order that was answered with 201, audits the bank, and waits for memory to come back.\n\n" +
			"   vigie load                                      20 requests a second for 30 s\n" +
			"   vigie load --rate 200 --for 2m --shape spike    200 a second, and 1000 for a while\n" +
			"   vigie load --find-knee --rate 50 --for 3m       climb until the objectives do not hold\n" +
			"   vigie load --scenario black-friday              one of those in test/load, or a file\n" +
			"   vigie load --mix order=90,wrong=10 --json\n" +
			"   vigie load --html report.html                   a page with graphs\n" +
			"   vigie load compare before.json after.json       what differs by more than noise\n\n" +
			"Exits with 0 if every check passed, else with 1. Ctrl-C ends the sending: what was promised until then is\n" +
			"checked all the same. Its orders stay: load no bank whose orders are somebody's.",
		Flags: slices.Concat(
			loadFlags(), wantFlags(), addrFlags(registry), askerFlags(), kafkaFlags(brokerOfInstance()), databaseFlags(),
			[]cli.Flag{retentionFlag(), jsonFlag("print one JSON object"), &cli.StringFlag{
				Name: flagPage, Sources: cli.EnvVars(variablePageURL), Category: "Load", Validator: aURL,
				Usage: "`URL` of the page that breaks what a scenario has broken (default: of the instance which runs in --" + flagData + ", else " + defaultSentinelle() + ")",
			}},
		),
		Commands: []*cli.Command{{
			Name: "compare", Usage: "say how two runs differ by more than noise", ArgsUsage: "BEFORE.json AFTER.json", HideHelpCommand: true,
			Description: "Compares two reports that were written with --" + flagJSON + ": medians over the runs' intervals, what they lie between\n" +
				"with 95 % confidence, and how likely such a difference is where there is none. Compare runs of one scenario on\n" +
				"one machine, and several of each: what is the same within a run may still differ between two.",
			Action: compareLoads,
		}},
		Action: onInstance(func(ctx context.Context, c *cli.Command) error { return runLoad(ctx, c, registry) }),
	}
}

func loadFlags() []cli.Flag {
	const category = "Load"
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagScenario, Category: category,
			Usage: "a `FILE` with settings under the names of these flags, or one of " + strings.Join(scenarioNames(), ", ") + "; flags that are set go before its settings",
		},
		&cli.FloatFlag{Name: flagRate, Value: defaultRate, Category: category, Usage: "requests a second; of a climb the first rate"},
		&duration.Flag{Name: flagLoadFor, Value: defaultLength, Category: category, Usage: "how long requests begin", Validator: positiveDuration},
		&cli.StringFlag{
			Name: flagShape, Value: load.Constant, Category: category, Validator: oneOf(load.Shapes()...),
			Usage: "constant, ramp (from nothing to the rate), spike (five times the rate in the middle), sine (up and down), soak (constant after a gentle start)",
		},
		&cli.BoolFlag{Name: flagKnee, Category: category, Usage: "climb by a quarter each step, and say up to which rate the objectives held"},
		&duration.Flag{Name: flagStep, Value: defaultStep, Category: category, Usage: "how long each step of a climb is", Validator: positiveDuration},
		&cli.StringFlag{
			Name: flagMix, Value: load.DefaultMix().String(), Category: category,
			Usage: "what requests are, by weight: order, keyed (with an Idempotency-Key), repeat (of a keyed one), wrong (to be refused), status, list, statistics",
		},
		&cli.Uint64Flag{Name: flagSeed, Value: 1, Category: category, Usage: "what is ordered, by whom, and in which order, follows from this number"},
		&cli.IntFlag{Name: flagUsers, Value: load.DefaultUsers, Category: category, Usage: "how many users order, a few of them most", Validator: positive},
		&cli.BoolFlag{Name: flagPoisson, Category: category, Usage: "have requests come as independent users do, not at even distances"},
		&cli.IntFlag{Name: flagInFlight, Value: load.DefaultInFlight, Category: category, Usage: "how many requests may be under way at once", Validator: positive},
		&duration.Flag{Name: flagTimeout, Value: load.DefaultTimeout, Category: category, Usage: "how long each request may take, a minute at most", Validator: aRequestsTime},
		&cli.BoolFlag{Name: flagAnyHost, Category: category, Usage: "send the load also to other machines than this one"},
		&duration.Flag{
			Name: flagAuditPatience, Value: load.DefaultPatience, Category: "Verdict",
			Usage: "how long nothing may change while it is waited for orders, and for memory to come back",
		},
		&cli.BoolFlag{Name: flagNoAudit, Category: "Verdict", Usage: "do not audit the bank afterwards"},
		&cli.StringFlag{Name: flagHTML, Category: "Output", Usage: "write a page with graphs to `FILE`, which needs nothing else"},
	}
}

func wantFlags() []cli.Flag {
	const category = "Verdict"
	o := load.DefaultObjectives()
	return []cli.Flag{
		&cli.FloatFlag{Name: flagAvailable, Value: o.Available, Category: category, Usage: "share of good orders that are to be answered with 201", Validator: aShare},
		&duration.Flag{Name: flagLatency, Value: o.Latency, Category: category, Usage: "how long an order may take, from when it was due to its 201", Validator: positiveDuration},
		&cli.FloatFlag{Name: flagFast, Value: o.Fast, Category: category, Usage: "share of orders that are to be as fast", Validator: aShare},
		&duration.Flag{Name: flagVisible, Value: o.Visible, Category: category, Usage: "how long it may take from an order's 201 until it is decided and visible", Validator: positiveDuration},
		&cli.FloatFlag{Name: flagInTime, Value: o.InTime, Category: category, Usage: "share of followed orders that are to be as soon", Validator: aShare},
		&cli.FloatFlag{
			Name: flagGrowth, Value: o.Growth, Category: category, Usage: "how many times the memory and the goroutines of before may stay, beside 64 MiB and 50",
			Validator: func(f float64) error {
				if f >= 1 && f <= 1000 {
					return nil
				}
				return errors.New("want a number from 1 to 1000")
			},
		},
	}
}

// aRequestsTime accepts how long a request may take.
func aRequestsTime(d time.Duration) error {
	if d > load.MaxTimeout {
		return fmt.Errorf("want at most %s", duration.Text(load.MaxTimeout))
	}
	return positiveDuration(d)
}

// aShare accepts a share.
func aShare(part float64) error {
	if part >= 0 && part <= 1 { // a NaN is neither
		return nil
	}
	return errors.New("want a share between 0 and 1")
}

func runLoad(ctx context.Context, c *cli.Command, registry services.Registry) error {
	scenario, err := applyScenario(c)
	if err != nil {
		return asMisuse(err)
	}
	cfg, err := loadConfig(c, scenario)
	if err != nil {
		return asMisuse(err)
	}
	transport, err := aimLoad(ctx, c, registry, &cfg)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	if !c.Bool(flagNoAudit) {
		if cfg.Audit, err = loadAudit(c); err != nil {
			return err
		}
	}
	page := io.Discard
	if path := c.String(flagHTML); path != "" { // a run of hours is not to end at a folder that is not there
		file, err := os.Create(path) //nolint:gosec // the user's to choose
		if err != nil {
			return misusef("--%s: %w", flagHTML, err)
		}
		defer func() { _ = file.Close() }() // written to by then, with its error looked at
		page = file
	}
	bar := newBar(c.Root().ErrWriter, "sending")
	defer bar.finish()
	cfg.Progress = func(p load.Progress) {
		bar.say(strings.TrimSuffix(p.Stage+": "+p.Text, ": "))
		bar.draw(p.Done, p.Total)
	}
	report, err := load.Run(ctx, cfg)
	bar.finish()
	if err != nil {
		return asMisuse(err)
	}
	if err := report.HTML(page); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return printLoad(c.Root().Writer, report, c.Bool(flagJSON))
}

func printLoad(w io.Writer, report load.Report, asJSON bool) (err error) {
	if asJSON {
		err = writeJSON(w, report)
	} else {
		_, err = io.WriteString(w, printableLines(report.Text()))
	}
	if err == nil && !report.Passed {
		err = fmt.Errorf("%w: %s", errNotPassed, report.Sentence())
	}
	return err
}

// scenarioNames are those that are embedded.
func scenarioNames() (names []string) {
	files, _ := fs.Glob(scenarios.Scenarios, "*.yaml") // the pattern is well formed
	for _, file := range files {
		names = append(names, strings.TrimSuffix(file, ".yaml"))
	}
	return names
}

// applyScenario sets the flags that nobody has set to what the scenario says.
func applyScenario(c *cli.Command) (s load.Scenario, err error) {
	name := c.String(flagScenario)
	if name == "" {
		return s, nil
	}
	var file fs.File
	if slices.Contains(scenarioNames(), name) {
		file, err = scenarios.Scenarios.Open(name + ".yaml")
	} else {
		file, err = os.Open(name) //nolint:gosec // the user's to choose
	}
	if err != nil {
		return s, fmt.Errorf("--%s %.64q is none of %s, and no file: %w", flagScenario, name, listed(scenarioNames()), err)
	}
	defer func() { _ = file.Close() }()
	if s, err = load.ReadScenario(file); err != nil {
		return s, fmt.Errorf("--%s %s: %w", flagScenario, name, err)
	}
	known := map[string]cli.Flag{}
	for _, f := range append(loadFlags(), wantFlags()...) {
		known[f.Names()[0]] = f
	}
	for _, setting := range slices.Sorted(maps.Keys(s.Settings)) {
		_, ok := known[setting]
		switch {
		case !ok || slices.Contains([]string{flagScenario, flagAnyHost, flagHTML}, setting):
			return s, fmt.Errorf("--%s %s: %w: there is no setting %.64q", flagScenario, name, load.ErrScenario, setting)
		case c.IsSet(setting):
		case c.Set(setting, s.Settings[setting]) != nil:
			return s, fmt.Errorf("--%s %s: %w: %s cannot be %.64q", flagScenario, name, load.ErrScenario, setting, s.Settings[setting])
		}
	}
	return s, nil
}

// curveOf is the rate over time that flags and scenario ask for.
func curveOf(c *cli.Command, s load.Scenario, cfg *load.Config) (err error) {
	rate, length := c.Float(flagRate), c.Duration(flagLoadFor)
	switch knee, shaped := c.Bool(flagKnee), c.IsSet(flagShape); {
	case knee && shaped:
		return misusef("there are both --%s and --%s; give one", flagKnee, flagShape)
	case knee:
		cfg.Name, cfg.Step = "knee", c.Duration(flagStep)
		cfg.Curve, err = load.Stairs(rate, length, cfg.Step)
	case s.Points != nil && !shaped:
		cfg.Curve = load.Curve(s.Points)
		if c.IsSet(flagRate) {
			cfg.Curve = cfg.Curve.Faster(rate / cfg.Curve.Highest())
		}
		if c.IsSet(flagLoadFor) {
			cfg.Curve = cfg.Curve.Lasting(length)
		}
		err = cfg.Curve.Check()
	default:
		cfg.Name = c.String(flagShape)
		cfg.Curve, err = load.NewCurve(cfg.Name, rate, length)
	}
	if name := c.String(flagScenario); name != "" {
		cfg.Name = strings.TrimSuffix(filepath.Base(name), ".yaml")
	}
	if err != nil {
		return fmt.Errorf("--%s, --%s: %w", flagRate, flagLoadFor, err)
	}
	return nil
}

// compareLoads compares two reports.
func compareLoads(_ context.Context, c *cli.Command) error {
	if c.Args().Len() != 2 {
		return misusef("load compare takes two files that `vigie load --%s` wrote", flagJSON)
	}
	var reports [2]load.Report
	for i, path := range c.Args().Slice() {
		var err error
		if reports[i], err = readReport(path); err != nil {
			return misusef("load compare: %s: %w", path, err)
		}
	}
	_, err := io.WriteString(c.Root().Writer, printableLines(load.CompareText(reports[0], reports[1])))
	return err
}

// maxReport bounds a report's file.
const maxReport = 64 << 20

var errNoReport = errors.New("it is no report that `vigie load --" + flagJSON + "` wrote")

func readReport(path string) (r load.Report, err error) {
	file, err := os.Open(path) //nolint:gosec // the user's to choose
	if err != nil {
		return r, err
	}
	defer func() { _ = file.Close() }()
	if json.NewDecoder(io.LimitReader(file, maxReport)).Decode(&r) != nil || r.Started.IsZero() {
		return r, errNoReport
	}
	return r, nil
}

// loadConfig is what to send, and what is wanted.
func loadConfig(c *cli.Command, s load.Scenario) (cfg load.Config, err error) {
	cfg = load.Config{
		Poisson: c.Bool(flagPoisson), Seed: c.Uint64(flagSeed), Users: c.Int(flagUsers), InFlight: c.Int(flagInFlight),
		Faults: s.Faults, Timeout: c.Duration(flagTimeout), Patience: c.Duration(flagAuditPatience), Words: plain,
		Objectives: load.Objectives{
			Available: c.Float(flagAvailable), Fast: c.Float(flagFast), Latency: c.Duration(flagLatency),
			InTime: c.Float(flagInTime), Visible: c.Duration(flagVisible), Growth: c.Float(flagGrowth),
		},
	}
	if err := curveOf(c, s, &cfg); err != nil {
		return cfg, err
	}
	if cfg.Mix, err = load.ParseMix(c.String(flagMix)); err != nil {
		return cfg, fmt.Errorf("--%s: %w", flagMix, err)
	}
	return cfg, nil
}

// aimLoad fills in whom to ask, once it is sure that this may be loaded, and that it
// answers.
func aimLoad(ctx context.Context, c *cli.Command, registry services.Registry, cfg *load.Config) (*http.Transport, error) {
	ask, err := newAsker(c)
	if err != nil {
		return nil, err
	}
	targets := map[string][]load.Target{}
	for _, s := range registry {
		for _, target := range serviceURLs(c, s) {
			if !c.Bool(flagAnyHost) && !loopback.URL(target) {
				return nil, misusef("load: %s is not this machine; --%s says that it may be loaded all the same", target, flagAnyHost)
			}
			targets[s.Name] = append(targets[s.Name], load.Target{URL: target, Token: ask.token.Reveal()})
			cfg.Pages = append(cfg.Pages, load.Page{Service: s.Name, URL: target})
		}
	}
	cfg.Break = func(ctx context.Context, f load.Fault) error {
		var started faults.Status
		return askSentinelle(ctx, c, http.MethodPost, "/faults/"+url.PathEscape(f.Name)+"/start", url.Values{"for": {f.For.String()}}, &started, notBroken)
	}
	cfg.Commande, cfg.Suivi, cfg.Analyseur = targets[commande.Name], targets[suivi.Name], targets[analyseur.Name]
	transport := ask.transport
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost = false, cfg.InFlight
	cfg.Transport = transport
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	for _, t := range slices.Concat(cfg.Commande, cfg.Suivi, cfg.Analyseur) {
		if err := checkHealth(ctx, &http.Client{Transport: transport}, t.URL); err != nil {
			return nil, err
		}
	}
	return transport, nil
}

// loadAudit is an audit of the bank by the flags of vigie audit.
func loadAudit(c *cli.Command) (func(context.Context) (load.Audited, error), error) {
	database, err := databaseURL(c)
	if err != nil {
		return nil, err
	}
	cluster, err := kafkaConfig(c, "vigie-load", defaultBroker)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (out load.Audited, err error) {
		audited, end, err := openAudit(ctx, cluster, stateIn(database))
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, end()) }()
		audited.Patience, audited.Retention, audited.Limit = auditPatience, c.Duration(flagRetention), defaultLimit
		report, err := audit.Run(ctx, audited)
		if err != nil {
			return out, err
		}
		if no := verdict(report); no != nil {
			return load.Audited{Detail: no.Error()}, nil
		}
		return load.Audited{Clean: true, Detail: fmt.Sprintf("every order of the log's %d is accounted for once", report.Created.Count)}, nil
	}, nil
}
