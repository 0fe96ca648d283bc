//go:build unix

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

const (
	// underWay is how many acknowledged orders make a load, before the fault
	// and once more after it.
	underWay = 50
	// recovery bounds the time until orders are taken again, and then until
	// everything has come to rest: past it the system hangs.
	recovery = 3 * time.Minute
	// objective is the shortest within which orders can be to be decided and visible: many
	// are late.
	objective = 2 * time.Second
	// stopPatience is much more than a graceful stop takes.
	stopPatience = time.Minute
)

// round is one round: a fresh system that suffers one breakage.
type round struct {
	cfg      Config
	breakage breakage
	random   *rand.Rand
	folder   string // of everything, kept when the round fails
	data     string // the services' data folder
	binary   string // vigie
	env      []string
	poison   map[record.Place]record.Record
	foreign  []reply         // what others than our clients know of their orders
	never    []string        // orders that nobody may decide or show
	deleted  []record.Record // what an operator has deleted from the topics
	rebuilt  bool            // what the services show comes from what was left of the topics
	since    time.Time       // if set, an operator has deleted all topics before
	broker   testsystem.Broker
	system   *testsystem.System
	database *testpostgres.Server // nil where state is in the data folder
	url      string               // the services' DATABASE_URL, or ""
	load     *load
	unmount  func() // of the data folder, or nil
}

// run goes through the round. An error is a breach too: something did not come
// up again, hung, or ended by itself.
func (r *round) run(ctx context.Context) (verdict, error) {
	defer r.end()
	if err := r.start(ctx); err != nil {
		return verdict{}, err
	}
	r.load = startLoad(r.system.URL(testsystem.Commande), r.random.Uint64())
	defer r.load.stop()
	if r.breakage.step == "" { // else it may come before the first order
		if err := errors.Join(r.taken(ctx, underWay), r.lookAnew(ctx)); err != nil {
			return verdict{}, err
		}
	}
	if err := r.breakage.during(ctx, r); err != nil {
		return verdict{}, err
	}
	repaired := time.Now()
	if err := r.taken(ctx, underWay); err != nil {
		return verdict{Acknowledged: r.load.acknowledged()}, err
	}
	back := time.Since(repaired)
	if err := r.askAgain(ctx); err != nil {
		return verdict{Acknowledged: r.load.acknowledged()}, err
	}
	replies := append(r.load.stop(), r.foreign...)
	if err := r.lookAnew(ctx); err != nil {
		return verdict{Acknowledged: r.load.acknowledged()}, err
	}
	v, err := r.judge(ctx, replies)
	v.Back = back
	if err != nil || len(v.Violations) > 0 {
		return v, err
	}
	return v, r.stop(ctx)
}

// start starts broker and services, the one with a step to die at so that it
// will.
func (r *round) start(ctx context.Context) error {
	if r.breakage.smallDisk {
		unmount, err := mountSmall(r.data)
		if err != nil {
			return err
		}
		r.unmount = unmount
	}
	err := r.chooseClock(ctx)
	if err != nil {
		return err
	}
	if r.url, err = r.startDatabase(ctx); err != nil {
		return err
	}
	if r.broker, err = r.cfg.StartBroker(ctx, Home{Binary: r.binary, Folder: r.folder, Data: r.data, Env: r.env}); err != nil {
		return err
	}
	if err := makeTopics(ctx, r.broker.Address()); err != nil {
		return err
	}
	if r.breakage.before != nil {
		if err := r.breakage.before(ctx, r); err != nil {
			return err
		}
	}
	if r.system, err = testsystem.New(r.services()); err != nil {
		return err
	}
	if r.breakage.step != "" {
		nth := 1 + r.random.IntN(40)
		if publishes(r.breakage.service, r.breakage.step) {
			nth = 1 + r.random.IntN(5)
		}
		if err := r.system.Service(r.breakage.service).Start(ctx, fmt.Sprintf("VIGIE_FAULT=%s#%d", r.breakage.step, nth)); err != nil {
			return err
		}
	}
	return r.system.Start(ctx)
}

// services is what runs besides the broker.
func (r *round) services() testsystem.Config {
	errors := []string{"0", "0.3"}[r.random.IntN(2)]
	if r.breakage.letters {
		errors = "0.7"
	}
	return testsystem.Config{
		Binary: r.binary, Brokers: r.broker.Address(), Data: r.data, Logs: r.folder,
		Database: r.url, Instances: r.cfg.Instances, Watched: true, Env: r.env,
		Flags: []string{
			"--sentinelle-objective", objective.String(),
			"--kafka-session-timeout", sessionTimeout.String(), "--commande-ack-timeout", ackTimeout.String(),
			"--paiement-latency", []string{"0s", "5ms", "50ms"}[r.random.IntN(3)],
			"--paiement-error-rate", errors,
			"--paiement-seed", strconv.FormatUint(r.random.Uint64(), 10),
		},
	}
}

// chooseClock gives the round's processes a clock that can be set, if it is to be.
func (r *round) chooseClock(ctx context.Context) (err error) {
	if !r.breakage.wallClock {
		return nil
	}
	if r.binary, err = r.cfg.Settable(ctx); err != nil {
		return err
	}
	r.env = []string{testsystem.ClockFile + "=" + r.clockFile()}
	return r.setClock(0)
}

// startDatabase starts the round's PostgreSQL, where the matrix has one, and
// returns the services' DATABASE_URL.
func (r *round) startDatabase(ctx context.Context) (url string, err error) {
	if !r.cfg.Postgres {
		return "", nil
	}
	if r.database, err = testpostgres.New(ctx); err != nil {
		return "", err
	}
	return r.database.Create(ctx)
}

// makeTopics makes the topics that are not there.
func makeTopics(ctx context.Context, address string) error {
	return connected(ctx, address, func(client *kafka.Client) error {
		_, err := kafka.EnsureTopics(ctx, client, banking.Topics())
		return err
	})
}

// taken waits until n more orders are acknowledged. A process that ends
// meanwhile is a breach, unless it is to die at a step.
func (r *round) taken(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	err := r.load.await(ctx, r.load.acknowledged()+n)
	if alive := r.alive(); alive != nil {
		return alive
	}
	return err
}

// askAgain has clients repeat some of their requests that were acknowledged.
func (r *round) askAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	return r.load.askAgain(ctx, r.since, r.random)
}

// alive names a process that ended by itself.
func (r *round) alive() error {
	for _, p := range r.broker.Processes() {
		if !p.Running() {
			return fmt.Errorf("a broker ended by itself with %d:\n%s", p.Status(), r.broker.LogTail())
		}
	}
	for _, name := range r.system.Names() {
		for i, s := range r.system.Instances(name) {
			toDie := i == 0 && name == r.breakage.service && r.breakage.step != "" || name == testsystem.Sentinelle
			if s.Running() || toDie && s.Process().Status() == -1 {
				continue
			}
			return fmt.Errorf("%s ended by itself with %d:\n%s", s.Name, s.Process().Status(), s.LogTail())
		}
	}
	return nil
}

// judge waits for rest and judges. What looks wrong is looked at again for as
// long as recovery lasts, so that only what stays wrong counts.
func (r *round) judge(ctx context.Context, replies []reply) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	v := verdict{Acknowledged: r.load.acknowledged()}
	start := time.Now()
	var rest time.Duration
	for {
		if err := awaitRest(ctx, r.broker.Address()); err != nil {
			return v, errors.Join(r.alive(), err)
		}
		if rest == 0 {
			rest = time.Since(start)
		}
		e, err := r.gather(ctx, replies)
		if err == nil {
			v = judge(e)
			v.Rest = rest
		}
		if err == nil && len(v.Violations) == 0 {
			return v, r.alive()
		}
		if lifecycle.Sleep(ctx, restPoll) != nil {
			if len(v.Violations) > 0 {
				return v, nil // err says no more than that the time is over
			}
			return v, err
		}
	}
}

// gather reads the topics, has the audit look at them and at the services'
// state, queries suivi and analyseur as clients do, and reads what sentinelle has counted.
func (r *round) gather(ctx context.Context, replies []reply) (evidence, error) {
	e := evidence{Replies: replies, Poison: r.poison, Never: r.never, Rebuilt: r.rebuilt, Since: r.since}
	left, err := readTopics(ctx, r.broker.Address(), topicNames()...)
	if err != nil {
		return e, err
	}
	e.Records, e.Deleted = whole(left, r.deleted)
	if e.Audit, err = r.audit(ctx); err != nil {
		return e, err
	}
	ids := slices.Clone(e.Never)
	for _, o := range e.Records[banking.TopicOrdersCreated] {
		if _, ours := e.Poison[o.Place]; !ours {
			ids = append(ids, string(o.Key))
		}
	}
	slices.Sort(ids)
	if e.views, err = readViews(ctx, r.system.URL(testsystem.Suivi), r.system.URL(testsystem.Analyseur), slices.Compact(ids)); err != nil {
		return e, err
	}
	for _, s := range r.system.Instances(testsystem.Sentinelle) {
		one, err := readJourneys(ctx, s.URL)
		if err != nil {
			return e, err
		}
		e.Journeys = append(e.Journeys, one)
	}
	return e, nil
}

// audit runs `vigie audit`. That it finds something wrong is no error.
func (r *round) audit(ctx context.Context) (report audit.Report, err error) {
	cmd := exec.CommandContext(ctx, r.binary, "audit", "--json", //nolint:gosec // our own
		"--limit", strconv.Itoa(maxShown), "--data", r.data, "--kafka-brokers", r.broker.Address())
	cmd.Env = append(append(os.Environ(), r.env...), "DATABASE_URL="+r.url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, failed := cmd.Output()
	if err := json.Unmarshal(output, &report); err != nil {
		return report, fmt.Errorf("vigie audit --json: %w\n%s%s", errors.Join(failed, err), output, &stderr)
	}
	if report.AccountedFor != (failed == nil) {
		return report, fmt.Errorf("vigie audit ends with %d and says %s", cmd.ProcessState.ExitCode(), output)
	}
	return report, nil
}

// stop stops everything as an operator does, which has to work after whatever
// happened.
func (r *round) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	status, err := r.system.Stop(ctx)
	if err == nil && status != 0 {
		err = fmt.Errorf("a service stopped with %d", status)
	}
	return errors.Join(err, r.broker.Stop())
}

// end leaves nothing running, whatever became of the round.
func (r *round) end() {
	if r.system != nil {
		r.system.Close()
	}
	r.endDatabase()
	if r.broker != nil {
		r.broker.Kill()
	}
	if r.unmount != nil {
		r.unmount()
	}
}

// endDatabase leaves the end of its log with the round's.
func (r *round) endDatabase() {
	if r.database == nil {
		return
	}
	_ = os.WriteFile(filepath.Join(r.folder, "postgres.log"), []byte(r.database.LogTail()), 0o600)
	_ = r.database.Close()
}

// newFolder makes the round's folders.
func (r *round) newFolder() (err error) {
	if r.folder, err = os.MkdirTemp("", "vigie-crash-"); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	r.data = filepath.Join(r.folder, "data")
	return os.Mkdir(r.data, 0o750)
}
