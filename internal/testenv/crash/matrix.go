//go:build unix

// Package crash shows that nothing is lost or doubled, whatever crashes. It
// runs the system as processes, has clients place orders and injects one fault
// a round. sentinelle looks on and is crashed in every round. Afterwards it judges:
// `vigie audit` says whether topics and state have every order once, sentinelle has to have
// counted as many, and the judge adds what only clients know. `make crash` runs it;
// only tests use it.
//
// matrix.go plans the rounds and prints their table, round.go goes through one.
// faults.go lists what goes wrong, and crashes processes; strangers.go has others
// use the topics and groups; ground.go changes topics, and nodes of a cluster;
// operators.go does what operators do, who also set clocks; files.go damages
// files and fills disks, which disk_*.go makes. clients.go places orders and
// sees what the services show; topics.go reads topics and waits for them to come
// to rest. judge.go is the judge.
package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// Config says what a matrix runs. Its rounds follow from Seed alone, as far as
// the moments of a running system can follow from anything.
type Config struct {
	Binary string // vigie
	// Settable returns vigie with a clock that can be set, see
	// [testsystem.BuildSettable].
	Settable func(context.Context) (string, error)
	Broker   Kind
	// StartBroker starts a broker of that kind.
	StartBroker func(ctx context.Context, at Home) (testsystem.Broker, error)
	Seed        uint64
	First       int // number of the first round, from 1
	Rounds      int
	Only        string // if set, the only breakage
	Away        time.Duration
	// Postgres has the services' state in a PostgreSQL server of each round,
	// which Instances of each service share; 0 is one.
	Postgres  bool
	Instances int
}

// Kind is a kind of broker.
type Kind string

// The kinds of brokers.
const (
	Embedded Kind = "embedded"
	Kafka    Kind = "kafka"
	Cluster  Kind = "cluster" // of three nodes
)

// Home is where a round's broker lives, and how it is started.
type Home struct {
	Binary string // vigie
	Folder string // of everything
	// Data is the services' data folder; vigie keeps its broker's log there.
	Data string
	Env  []string // NAME=value
}

// maxShown bounds the violations that are printed for a round.
const maxShown = 10

// Header is the table's first line.
func Header() string {
	return row("broker", "round", "fault", "acked", "unanswered", "dead", "purged", "republished", "back s", "rest s", "all s", "result")
}

func row(columns ...any) string {
	return fmt.Sprintf("%-8v %5v  %-28v %5v %10v %4v %6v %11v %6v %6v %5v  %v", columns...)
}

// Run runs the matrix, writing its table, and returns how many rounds failed.
// A round that fails leaves its folder and says how to run it again.
func Run(ctx context.Context, cfg Config, out io.Writer) (failed int, err error) {
	for n := cfg.First; n < cfg.First+cfg.Rounds && ctx.Err() == nil; n++ {
		b, seed, err := cfg.plan(n)
		if err != nil {
			return failed, err
		}
		r := &round{
			cfg: cfg, breakage: b, binary: cfg.Binary, poison: map[record.Place]record.Record{},
			random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // repeatable on purpose
		}
		if err := r.newFolder(); err != nil {
			return failed, err
		}
		start := time.Now()
		v, err := r.run(ctx)
		result := "ok"
		switch {
		case errors.Is(err, errCannotMount):
			result = "not injected: " + err.Error()
		case err != nil || len(v.Violations) > 0:
			result = "FAILED"
			failed++
		}
		fmt.Fprintln(out, row(cfg.Broker, n, b.name, v.Acknowledged, v.Unanswered, v.DeadLettered, v.Purged, v.Republished,
			seconds(v.Back), seconds(v.Rest), seconds(time.Since(start)), result))
		if result == "FAILED" {
			cfg.explain(out, n, r.folder, v, err)
			continue
		}
		if err := os.RemoveAll(r.folder); err != nil {
			return failed, fmt.Errorf("remove round: %w", err)
		}
	}
	return failed, ctx.Err()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }

// explain says what went wrong and how to see it again.
func (c Config) explain(out io.Writer, n int, folder string, v verdict, err error) {
	for i, text := range v.Violations {
		if i == maxShown {
			fmt.Fprintf(out, "    and %d more\n", len(v.Violations)-maxShown)
			break
		}
		fmt.Fprintln(out, "    "+text)
	}
	if err != nil {
		fmt.Fprintln(out, "    "+strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
	more := ""
	if c.Only != "" {
		more = fmt.Sprintf(" FAULT='%s'", c.Only)
	}
	if c.Postgres {
		more += fmt.Sprintf(" DATABASE=postgres INSTANCES=%d", c.Instances)
	}
	fmt.Fprintf(out, "    logs and data: %s\n    again: make crash BROKER=%s SEED=%d FIRST=%d N=1%s\n", folder, c.Broker, c.Seed, n, more)
}

// plan gives a round its breakage and its seed: every breakage once before any
// comes again, in an order of the seed's choice.
func (c Config) plan(n int) (breakage, uint64, error) {
	var all []breakage
	for _, b := range c.breakages() {
		if c.Only == "" || b.name == c.Only {
			all = append(all, b)
		}
	}
	if len(all) == 0 {
		return breakage{}, 0, fmt.Errorf("%w %q; there are %s", errNoSuchFault, c.Only, strings.Join(faultNames(), ", "))
	}
	cycle, place := (n-1)/len(all), (n-1)%len(all)
	order := rand.New(rand.NewPCG(c.Seed, uint64(cycle))).Perm(len(all))                 //nolint:gosec // repeatable on purpose
	return all[order[place]], rand.New(rand.NewPCG(c.Seed, uint64(n)<<32)).Uint64(), nil //nolint:gosec // as above
}

// breakages are those of the matrix: a cluster's own on a cluster, the embedded
// broker's files where there are any; with a database server its own, in place
// of a full disk, which the server's would be.
func (c Config) breakages() []breakage {
	if c.Broker == Cluster {
		return clusterBreakages()
	}
	all := slices.DeleteFunc(breakages(), func(b breakage) bool {
		return b.files && c.Broker != Embedded || b.smallDisk && c.Postgres
	})
	if c.Postgres {
		all = append(all, databaseBreakages()...)
	}
	return all
}

var errNoSuchFault = errors.New("no such fault")

// faultNames lists what a round can suffer, by the names that Config.Only takes.
func faultNames() []string {
	var names []string
	for _, b := range slices.Concat(breakages(), databaseBreakages(), clusterBreakages()) {
		names = append(names, b.name)
	}
	return names
}
