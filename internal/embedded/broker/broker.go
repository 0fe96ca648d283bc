// Package broker is the broker that Vigie brings along, so that the whole
// system runs where there is Go and nothing else. It speaks the Kafka
// protocol, keeps its log on disk, and is the only importer of kfake.
//
// kfake is made for tests. What a broker must promise besides is kept around it:
// check.go and partition.go look at every byte of the folder before kfake does,
// with the formats in batch.go and segment.go; salvage.go gives up what is damaged;
// seal.go and ends.go have what the broker knows of its folder; disk.go makes writes
// durable and conn.go holds answers back until they are; retention.go deletes what
// is old; guard.go keeps kfake from requests that it handles badly, and by
// records.go from batches that nobody could read.
package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/storage"
)

// ErrAddress: the broker's address is taken or not one of this machine.
var ErrAddress = errors.New("broker cannot listen")

// What a partition's log may take of disk and memory, where its topic does not
// say otherwise. kfake keeps 72 bytes in memory for each batch of the log, and
// reads one segment of each partition at the same time when it starts.
const (
	// SegmentBytes is the size of a log's files, as log.segment.bytes.
	SegmentBytes = 8 << 20
	// RetentionBytes is what a partition keeps, as log.retention.bytes.
	RetentionBytes = 512 << 20
)

const brokerFolder = "broker"

// Config says where the broker listens and keeps its log.
type Config struct {
	// Address is host:port; port 0 picks a free one.
	Address string
	// Folder is the data folder; the log goes into its subfolder broker.
	Folder string
	// TopicBytes replaces RetentionBytes for topics, by name, that do not set
	// retention.bytes themselves.
	TopicBytes map[string]int64
	// Before stands before the listener, where faults are put in force; nil: nothing.
	Before func(net.Listener) net.Listener
	// Log gets what the broker finds and does. nil: nobody.
	Log *slog.Logger

	// sync replaces syncFile in tests.
	sync func(path string) error
}

// Broker is a running one-node broker. A record that it acknowledged is on
// disk, and survives kill -9 and a power cut.
type Broker struct {
	cluster *kfake.Cluster
	disk    *disk
	trimmer *trimmer
	intake  *intake
	lock    *flock.Flock
	address string

	stop context.CancelFunc // ends what runs beside
	done sync.WaitGroup
}

// Start takes the folder's lock, checks every file in it, loads it, and listens.
// Where files are not what was written to them it returns [ErrDamaged], with each
// place, and changes nothing.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	dir := filepath.Join(cfg.Folder, brokerFolder)
	lock, err := storage.LockFolder(dir)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.sync == nil {
		cfg.sync = syncFile
	}
	b, err := start(ctx, cfg, dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	b.lock = lock
	return b, nil
}

func start(ctx context.Context, cfg Config, dir string) (*Broker, error) {
	found, err := inspect(dir)
	if err == nil {
		err = found.err()
	}
	if err != nil {
		return nil, err
	}
	s := &seal{Files: map[string]string{}, Marks: map[string]mark{}}
	if found.seal != nil {
		s = found.seal
		s.Left = nil // from here on, this is no longer what a clean stop left
		for _, p := range found.logs {
			if m, known := found.mark(p); known {
				s.Marks[p.folder] = m
			}
		}
		if err := s.write(dir); err != nil {
			return nil, err
		}
	}
	if err := found.repair(cfg.Log); err != nil {
		return nil, err
	}
	return open(ctx, cfg, dir, found.logs, s)
}

// open starts kfake on a folder that is as it has to be.
func open(ctx context.Context, cfg Config, dir string, logs []*partition, s *seal) (*Broker, error) {
	id, err := clusterID(dir)
	if err != nil {
		return nil, err
	}
	b := &Broker{disk: newDisk(dir, s, cfg.sync, cfg.Log)}
	// kfake proposes an address of its own; the operator's choice replaces it.
	listen := func(string, string) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Address)
		if err != nil {
			return nil, fmt.Errorf("%w on %s: %w", ErrAddress, cfg.Address, err)
		}
		if cfg.Before != nil {
			l = cfg.Before(l)
		}
		return &edge{Listener: l, disk: b.disk, log: cfg.Log}, nil
	}
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(listen),
		kfake.ClusterID(id),
		kfake.DataDir(filepath.Join(dir, logFolder)),
		kfake.WithLogger(&listener{log: cfg.Log, disk: b.disk}),
		kfake.BrokerConfigs(map[string]string{
			intervalSetting:       never,
			"log.segment.bytes":   strconv.Itoa(SegmentBytes),
			"log.retention.bytes": strconv.Itoa(RetentionBytes),
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	b.address = b.cluster.ListenAddrs()[0]
	b.intake = &intake{cluster: b.cluster, log: cfg.Log}
	b.trimmer = newTrimmer(b.cluster, b.disk, cfg, logs, s.Clock)
	b.guard()
	if err := errors.Join(b.disk.flush(), b.trimmer.pass()); err != nil {
		b.cluster.Close()
		return nil, fmt.Errorf("start broker: %w", err)
	}
	debug.FreeOSMemory() // kfake has read the whole log, and keeps its index
	trimming, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.done.Go(func() { b.trimmer.run(trimming) })
	b.done.Go(func() { b.disk.syncEnds(trimming) })
	return b, nil
}

func newDisk(dir string, s *seal, sync func(string) error, log *slog.Logger) *disk {
	return &disk{
		dir: dir, sync: sync, log: log, failed: make(chan error, 1),
		logs: map[string]tail{}, entries: map[string]version{}, states: map[string]version{}, seal: s,
		ends: endings{logs: map[string]reached{}, topics: map[string]string{}},
	}
}

// Address is where the broker listens.
func (b *Broker) Address() string { return b.address }

// Failed gets the error, an [ErrDisk], after which the broker acknowledges
// nothing more and has to be closed.
func (b *Broker) Failed() <-chan error { return b.disk.failed }

// Refuse has the requests of some kinds that name a consumer group be refused, until
// the result is called. Clients try again after the errors that it answers with.
func (b *Broker) Refuse(group string, kinds ...kmsg.Key) (allow func()) {
	refused := b.cluster.Fault(kfake.Fault{Keys: kinds, Group: group, Err: kerr.CoordinatorNotAvailable, Count: -1})
	return refused.Remove
}

// Close ends the connections, writes what is open and gives the folder back.
func (b *Broker) Close() error {
	b.stop()
	b.done.Wait()
	ends, err := b.trimmer.ends()
	b.cluster.Close()
	b.intake.content.close()
	return errors.Join(err, b.disk.end(ends, b.trimmer.now()), b.lock.Close())
}

// clusterID is the folder's own: services refuse storage that was filled from
// another cluster.
func clusterID(dir string) (string, error) {
	path := filepath.Join(dir, "cluster.id")
	stored, err := os.ReadFile(path) //nolint:gosec // the folder is the operator's choice
	if err == nil {
		return strings.TrimSpace(string(stored)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read cluster id: %w", err)
	}
	id := rand.Text()
	if err := replaceFile(path, []byte(id+"\n"), durable); err != nil {
		return "", fmt.Errorf("write cluster id: %w", err)
	}
	return id, nil
}

// ends says where each log begins and ends now.
func (t *trimmer) ends() (map[string]mark, error) {
	logs, err := t.look()
	return marks(logs, func(r reach) int64 { return r.start }), err
}
