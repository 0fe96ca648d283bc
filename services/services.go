// Package services is the registry of the services: which there are, and how
// the command starts each. The command, its documents, the targets of
// Prometheus and the tests read it, so that a service is added in one place;
// docs/architecture.md shows how. What a service is (name, address, consumer
// group, topics) is said by its own package.
//
// Only the command and tests import this package: services meet through topics.
package services

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/sentinelle"
	"github.com/vigie-dev/vigie/services/suivi"
)

// Service is one service as the command runs it.
type Service struct {
	service.Definition

	// Guards names the routes that the service's tokens guard, all of its own, for
	// the help of the flag; "" where it has none, and then has no such flag.
	Guards string
	// Example is a command line to try on the running service, with {url} for
	// where it answers; "" for none.
	Example string
	// Flags makes the flags of the service's own settings, each named after
	// the service; nil for none.
	Flags func() []cli.Flag
	// Start starts the service.
	Start func(context.Context, Run) (*service.Service, error)
}

// Peer is the service as others see it, where it answers at a URL.
func (s Service) Peer(url string) service.Peer {
	return service.Peer{Name: s.Name, Does: s.Does, URL: url, Reads: s.Consumes, Writes: s.Produces}
}

// Run is what a service is started with.
type Run struct {
	Settings service.Settings
	Flags    *cli.Command         // with the values of the service's own
	Around   service.Surroundings // of a service outside the bank; for others empty
	// Authoriser is one that faults change; nil for one that nobody can.
	Authoriser *paiement.Adjustable
	// Probe is a credential that services of one process share, by which those outside place
	// orders that are none; none where they are not started together.
	Probe secret.Value
	// OpenAudit connects a service outside the bank to what it audits, and returns
	// what ends that.
	OpenAudit func(context.Context) (audit.Config, func() error, error)
}

// Registry is the services, in the order in which they are listed.
type Registry []Service

// All returns every service of the system.
func All() Registry {
	return Registry{
		{
			Definition: commande.Definition(commande.Config{}), Guards: "POST /orders",
			Example: `curl -X POST {url}/orders -H 'Content-Type: application/json' ` +
				`-d '{"userId":"user123","amount":100.50,"items":["item1","item2"]}'`,
			Flags: commandeFlags, Start: startCommande,
		},
		{
			Definition: suivi.Definition(), Guards: "GET /orders and GET /orders/{id}/status",
			Example: "curl {url}/orders/order-1/status",
			Start:   withoutFlags(suivi.Start),
		},
		{
			Definition: analyseur.Definition(), Guards: "GET /statistics and GET /recent-transactions",
			Example: "curl {url}/statistics",
			Start:   withoutFlags(analyseur.Start),
		},
		{
			Definition: paiement.Definition(paiement.Config{}),
			Flags:      paiementFlags, Start: startPaiement,
		},
		{
			Definition: sentinelle.Definition(sentinelle.Config{}), Guards: "everything it shows",
			Flags: sentinelleFlags, Start: startSentinelle,
		},
	}
}

// Names returns the services' names.
func (r Registry) Names() []string {
	names := make([]string, len(r))
	for i, s := range r {
		names[i] = s.Name
	}
	return names
}

// Inside returns the services that the bank consists of.
func (r Registry) Inside() Registry {
	return slices.DeleteFunc(slices.Clone(r), func(s Service) bool { return s.Outside })
}

// Outside returns the services that only look at the bank.
func (r Registry) Outside() Registry {
	return slices.DeleteFunc(slices.Clone(r), func(s Service) bool { return !s.Outside })
}

// Consumers returns the bank's services that have a consumer group, and with it a
// position in the topics and state that follows from them. Who looks on from outside may have a group
// too, and the bank is whole without it.
func (r Registry) Consumers() Registry {
	return slices.DeleteFunc(slices.Clone(r), func(s Service) bool { return s.Group == "" || s.Outside })
}

// withoutFlags is the start of a service that has no settings of its own.
func withoutFlags(start func(context.Context, service.Settings) (*service.Service, error)) func(context.Context, Run) (*service.Service, error) {
	return func(ctx context.Context, run Run) (*service.Service, error) { return start(ctx, run.Settings) }
}

const (
	ackTimeout = "commande-ack-timeout"
	takesProbe = "commande-probe-token-file"
)

func commandeFlags() []cli.Flag {
	return []cli.Flag{
		&duration.Flag{
			Name: ackTimeout, Sources: cli.EnvVars("COMMANDE_ACK_TIMEOUT"), Value: commande.DefaultAckTimeout, Category: commande.Name,
			Usage: "how long an order waits for Kafka's acknowledgement before it is answered with 503",
		},
		&cli.StringFlag{
			Name: takesProbe, Sources: cli.EnvVars("COMMANDE_PROBE_TOKEN_FILE"), Category: commande.Name,
			Usage: "`FILE` with the token by which sentinelle places its probes; made where it is not there, read again when it changes (default: one that `vigie up` makes; else there are no probes)",
		},
	}
}

func startCommande(ctx context.Context, run Run) (*service.Service, error) {
	return commande.Start(ctx, run.Settings, commande.Config{
		AckTimeout: run.Flags.Duration(ackTimeout), Probe: run.Probe, ProbeFile: run.Flags.String(takesProbe),
	})
}

const (
	rejectRate = "paiement-reject-rate"
	errorRate  = "paiement-error-rate"
	latency    = "paiement-latency"
	seed       = "paiement-seed"
	decideFrom = "paiement-decide-from"
)

func paiementFlags() []cli.Flag {
	return []cli.Flag{
		&cli.FloatFlag{
			Name: rejectRate, Sources: cli.EnvVars(paiement.VariableRejectRate), Value: 0.2, Category: paiement.Name,
			Usage: "share of payments that the simulated authoriser rejects, 0 to 1", Validator: aShare,
		},
		&cli.FloatFlag{
			Name: errorRate, Sources: cli.EnvVars(paiement.VariableErrorRate), Value: 0, Category: paiement.Name,
			Usage: "share of calls in which the simulated authoriser fails, 0 to 1", Validator: aShare,
		},
		&duration.Flag{
			Name: latency, Sources: cli.EnvVars(paiement.VariableLatency), Value: 20 * time.Millisecond, Category: paiement.Name,
			Usage: "how long the simulated authoriser takes",
		},
		&cli.Uint64Flag{
			Name: seed, Sources: cli.EnvVars("PAIEMENT_SEED"), Value: 1, Category: paiement.Name,
			Usage: "the simulated authoriser's decision on an order follows from this number and the order's id",
		},
		&cli.StringFlag{
			Name: decideFrom, Aliases: []string{"decide-from"}, Sources: cli.EnvVars("PAIEMENT_DECIDE_FROM"), Category: paiement.Name,
			Usage:     "decide orders placed since this `TIME` (RFC 3339), or \"all\", although the ledger can no longer know whether they were decided before",
			Validator: func(text string) error { _, err := paiement.ParseDecideFrom(text); return err },
		},
	}
}

func aShare(part float64) error {
	if part >= 0 && part <= 1 { // a NaN is neither
		return nil
	}
	return errors.New("want a share between 0 and 1")
}

func startPaiement(ctx context.Context, run Run) (*service.Service, error) {
	flags := run.Flags
	from, err := paiement.ParseDecideFrom(flags.String(decideFrom))
	if err != nil {
		return nil, err
	}
	cfg := paiement.Config{DecideFrom: from, Simulation: paiement.Simulation{
		RejectRate: flags.Float(rejectRate), ErrorRate: flags.Float(errorRate),
		Latency: flags.Duration(latency), Seed: flags.Uint64(seed),
	}}
	if run.Authoriser != nil {
		run.Authoriser.Reset(cfg.Simulation)
		cfg.Authoriser = run.Authoriser
	}
	return paiement.Start(ctx, run.Settings, cfg)
}

const (
	peersToken      = "sentinelle-peers-token-file"
	watchGroups     = "sentinelle-groups"
	watchTopics     = "sentinelle-topics"
	watchInterval   = "sentinelle-interval"
	withoutSuffix   = "-exclude"
	readUncommitted = "sentinelle-read-uncommitted-groups"
	auditInterval   = "sentinelle-audit-interval"
	auditWindow     = "sentinelle-audit-window"
	auditTempDir    = "sentinelle-audit-temp-dir"
	hasBank         = "sentinelle-bank"
	objective       = "sentinelle-objective"
	probeInterval   = "sentinelle-probe-interval"
	probeToken      = "sentinelle-probe-token-file"
)

func sentinelleFlags() []cli.Flag {
	pattern := func(name, variable, usage string) cli.Flag {
		return &cli.StringFlag{
			Name: name, Sources: cli.EnvVars(variable), Category: sentinelle.Name, Usage: usage,
			Validator: func(text string) error { _, err := regexp.Compile(text); return err },
		}
	}
	return append([]cli.Flag{
		&cli.StringFlag{
			Name: peersToken, Sources: cli.EnvVars("SENTINELLE_PEERS_TOKEN_FILE"), Category: sentinelle.Name,
			Usage: "`FILE` with the token to show to the services that want one; read again when it changes",
		},
		pattern(watchGroups, "SENTINELLE_GROUPS", "watch the consumer groups that `REGEX` matches, anywhere in the name (default: all)"),
		pattern(watchGroups+withoutSuffix, "SENTINELLE_GROUPS_EXCLUDE", "but not those that `REGEX` matches"),
		pattern(watchTopics, "SENTINELLE_TOPICS", "watch the topics that `REGEX` matches, anywhere in the name (default: all)"),
		pattern(watchTopics+withoutSuffix, "SENTINELLE_TOPICS_EXCLUDE", "but not those that `REGEX` matches"),
		pattern(readUncommitted, "SENTINELLE_READ_UNCOMMITTED_GROUPS", "the consumer groups that `REGEX` matches also read what is not committed, which nobody can see from outside (default: none)"),
		&duration.Flag{
			Name: watchInterval, Sources: cli.EnvVars("SENTINELLE_INTERVAL"), Value: groups.DefaultInterval, Category: sentinelle.Name,
			Usage: "how often to look at the cluster",
		},
		&cli.StringFlag{
			Name: hasBank, Sources: cli.EnvVars("SENTINELLE_BANK"), Value: string(sentinelle.BankAuto), Category: sentinelle.Name,
			Usage: "follow the orders of the bank's topics: on, off, or auto, where its services are known or its topics are there",
			Validator: func(text string) error {
				if slices.Contains([]sentinelle.Bank{sentinelle.BankAuto, sentinelle.BankOn, sentinelle.BankOff}, sentinelle.Bank(text)) {
					return nil
				}
				return errors.New("want auto, on or off")
			},
		},
		&duration.Flag{
			Name: objective, Sources: cli.EnvVars("SENTINELLE_OBJECTIVE"), Value: journeys.DefaultObjective, Category: sentinelle.Name,
			Usage: "within what time an order is to be decided and visible", Validator: longerThanItTakes,
		},
	}, append(auditFlags(), probeFlags()...)...)
}

// auditFlags say how sentinelle audits the bank.
func auditFlags() []cli.Flag {
	return []cli.Flag{
		&duration.Flag{
			Name: auditInterval, Sources: cli.EnvVars("SENTINELLE_AUDIT_INTERVAL"), Value: 5 * time.Minute, Category: sentinelle.Name,
			Usage: "how long after an audit of the bank the next begins; 0 for none; longer where audits take more than a twentieth of the time",
		},
		&duration.Flag{
			Name: auditWindow, Sources: cli.EnvVars("SENTINELLE_AUDIT_WINDOW"), Category: sentinelle.Name,
			Usage: "audit the orders of that long ago, and of twice as long at the most; 0 for all that the log holds",
		},
		&cli.StringFlag{
			Name: auditTempDir, Sources: cli.EnvVars("SENTINELLE_AUDIT_TEMP_DIR"), Category: sentinelle.Name,
			Usage: "`FOLDER` for the audit's temporary files, about 600 bytes for each order (default: the system's)",
		},
	}
}

// probeFlags say how sentinelle probes the bank.
func probeFlags() []cli.Flag {
	return []cli.Flag{
		&duration.Flag{
			Name: probeInterval, Sources: cli.EnvVars("SENTINELLE_PROBE_INTERVAL"), Value: probe.DefaultInterval, Category: sentinelle.Name,
			Usage: "how often to place a probe in each partition: an order that is none, to see whether the way is open; 0 for never",
		},
		&cli.StringFlag{
			Name: probeToken, Sources: cli.EnvVars("SENTINELLE_PROBE_TOKEN_FILE"), Category: sentinelle.Name,
			Usage: "`FILE` with commande's token for probes; waited for where it is not there, read again when it changes (default: one that `vigie up` makes; else nothing is probed)",
		},
	}
}

// longerThanItTakes refuses an objective that could not be told: what becomes visible is seen
// up to a second later.
func longerThanItTakes(d time.Duration) error {
	if d >= 2*time.Second {
		return nil
	}
	return errors.New("want at least 2s: it is seen up to a second later that an order has become visible")
}

func startSentinelle(ctx context.Context, run Run) (*service.Service, error) {
	watched, err := groupsToWatch(run.Flags)
	if err != nil {
		return nil, err
	}
	return sentinelle.Start(ctx, run.Settings, sentinelle.Config{
		Around: run.Around, TokenFile: run.Flags.String(peersToken), Groups: watched,
		Audit: sentinelle.AuditConfig{
			Interval: run.Flags.Duration(auditInterval), Window: run.Flags.Duration(auditWindow), TempDir: run.Flags.String(auditTempDir),
			Open: run.OpenAudit,
		},
		Journeys: sentinelle.Journeys{Bank: sentinelle.Bank(run.Flags.String(hasBank)), Objective: run.Flags.Duration(objective)},
		Probe:    sentinelle.Probe{Interval: run.Flags.Duration(probeInterval), Token: run.Probe, TokenFile: run.Flags.String(probeToken)},
	})
}

// groupsToWatch reads the flags that say what of a cluster to watch.
func groupsToWatch(flags *cli.Command) (groups.Config, error) {
	cfg := groups.Config{Interval: flags.Duration(watchInterval)}
	var errs []error
	for name, into := range map[string]**regexp.Regexp{
		watchGroups: &cfg.Groups.Include, watchGroups + withoutSuffix: &cfg.Groups.Exclude,
		watchTopics: &cfg.Topics.Include, watchTopics + withoutSuffix: &cfg.Topics.Exclude, readUncommitted: &cfg.ReadUncommitted,
	} {
		if text := flags.String(name); text != "" {
			var err error
			*into, err = regexp.Compile(text)
			errs = append(errs, err)
		}
	}
	return cfg, errors.Join(errs...)
}
