//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

const (
	// underWay is how many acknowledged orders make a load, before the fault
	// and once more after it.
	underWay = 50
	// recovery bounds the time until orders are taken again, and then until
	// everything has come to rest: past it the system hangs.
	recovery = 60 * time.Second
	// stopPatience is more than a graceful stop takes.
	stopPatience = 15 * time.Second
)

// round is one round: a fresh system that suffers one breakage.
type round struct {
	cfg      Config
	breakage breakage
	random   *rand.Rand
	folder   string // of everything, kept when the round fails
	data     string // the services' data folder
	poison   map[position]record
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
		if err := r.taken(ctx, underWay); err != nil {
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
	answers := r.load.stop()
	v, err := r.judge(ctx, answers)
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
	var err error
	if r.url, err = r.startDatabase(ctx); err != nil {
		return err
	}
	if r.broker, err = r.cfg.StartBroker(ctx, r.data, r.folder); err != nil {
		return err
	}
	if err := r.makeTopics(ctx); err != nil {
		return err
	}
	if r.breakage.before != nil {
		if err := r.breakage.before(ctx, r); err != nil {
			return err
		}
	}
	r.system, err = testsystem.New(testsystem.Config{
		Binary: r.cfg.Binary, Brokers: r.broker.Address(), Data: r.data, Logs: r.folder,
		Database: r.url, Instances: r.cfg.Instances,
		Flags: []string{
			"--kafka-session-timeout", sessionTimeout.String(), "--commande-ack-timeout", ackTimeout.String(),
			"--paiement-latency", []string{"0s", "5ms", "50ms"}[r.random.IntN(3)],
			"--paiement-error-rate", []string{"0", "0.3"}[r.random.IntN(2)],
			"--paiement-seed", strconv.FormatUint(r.random.Uint64(), 10),
		},
	})
	if err != nil {
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

func (r *round) makeTopics(ctx context.Context) error {
	client, err := kafka.Connect(ctx, kafka.Config{Brokers: []string{r.broker.Address()}, ClientID: "crashtest"}, recovery)
	if err != nil {
		return err
	}
	_, err = kafka.EnsureTopics(client, banking.Topics())
	return errors.Join(err, client.Close())
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

// alive names a process that ended by itself.
func (r *round) alive() error {
	if !r.broker.Process().Running() {
		return fmt.Errorf("the broker ended by itself with %d:\n%s", r.broker.Process().Status(), r.broker.LogTail())
	}
	for _, name := range testsystem.Services() {
		for i, s := range r.system.Instances(name) {
			if s.Running() || i == 0 && name == r.breakage.service && r.breakage.step != "" && s.Process().Status() == -1 {
				continue
			}
			return fmt.Errorf("%s ended by itself with %d:\n%s", s.Name, s.Process().Status(), s.LogTail())
		}
	}
	return nil
}

// judge waits for rest and judges. What looks wrong is looked at again for as
// long as recovery lasts, so that only what stays wrong counts.
func (r *round) judge(ctx context.Context, answers []answer) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	v := verdict{Acknowledged: r.load.acknowledged()}
	start := time.Now()
	var rest time.Duration
	for {
		if err := settled(ctx, r.broker.Address()); err != nil {
			return v, errors.Join(r.alive(), err)
		}
		if rest == 0 {
			rest = time.Since(start)
		}
		e, err := r.gather(ctx, answers)
		if err == nil {
			v = judge(e)
			v.Rest = rest
		}
		if err == nil && len(v.Violations) == 0 && r.cfg.Audit != nil {
			v.Violations = r.cfg.Audit(ctx, r.data, r.url, r.broker.Address())
		}
		if err == nil && len(v.Violations) == 0 {
			return v, r.alive()
		}
		if lifecycle.Sleep(ctx, settlePoll) != nil {
			if len(v.Violations) > 0 {
				return v, nil // err says no more than that the time is over
			}
			return v, err
		}
	}
}

// gather asks all four sides.
func (r *round) gather(ctx context.Context, answers []answer) (evidence, error) {
	e := evidence{Answers: answers, Poison: r.poison}
	var err error
	if e.Records, err = readTopics(ctx, r.broker.Address()); err != nil {
		return e, err
	}
	var ids []string
	for _, o := range e.Records[banking.TopicOrdersCreated] {
		if _, ours := e.Poison[o.position]; !ours {
			ids = append(ids, o.Key)
		}
	}
	slices.Sort(ids)
	client := &http.Client{Timeout: recovery, Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer client.CloseIdleConnections()
	if e.Suivi, e.SuiviTotal, err = viewOrders(ctx, client, r.system.URL(testsystem.Suivi), slices.Compact(ids)); err != nil {
		return e, err
	}
	e.Totals, err = viewTotals(ctx, client, r.system.URL(testsystem.Analyseur))
	return e, err
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

// newFolder makes the round's folders.
func (r *round) newFolder() (err error) {
	if r.folder, err = os.MkdirTemp("", "vigie-crash-"); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	r.data = filepath.Join(r.folder, "data")
	return os.Mkdir(r.data, 0o750)
}
