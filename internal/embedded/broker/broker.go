// Package broker is the broker that Vigie brings along, so that the whole
// system runs where there is Go and nothing else. It speaks the Kafka
// protocol, keeps its log on disk, and is the only importer of kfake.
//
// Its files: broker.go starts and stops it; patient.go keeps kfake from
// forgetting to watch members that die while they join a group.
package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/internal/storage"
)

// ErrAddress: the broker's address is taken or not one of this machine.
var ErrAddress = errors.New("broker cannot listen")

// Config says where the broker listens and keeps its log.
type Config struct {
	// Address is host:port; port 0 picks a free one.
	Address string
	// Folder is the data folder; the log goes into its subfolder broker.
	Folder string
}

// Broker is a running one-node broker. A record that it acknowledged is on
// disk, and survives kill -9 and a power cut.
type Broker struct {
	cluster *kfake.Cluster
	lock    *flock.Flock
	address string
}

// Start takes the folder's lock, loads what is in it, and listens.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	dir := filepath.Join(cfg.Folder, "broker")
	lock, err := storage.LockFolder(dir)
	if err != nil {
		return nil, err
	}
	b, err := start(ctx, cfg, dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	b.lock = lock
	return b, nil
}

func start(ctx context.Context, cfg Config, dir string) (*Broker, error) {
	id, err := clusterID(dir)
	if err != nil {
		return nil, err
	}
	// kfake proposes an address of its own; the operator's choice replaces it.
	listen := func(string, string) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Address)
		if err != nil {
			return nil, fmt.Errorf("%w on %s: %w", ErrAddress, cfg.Address, err)
		}
		return patientListener{l}, nil
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(listen),
		kfake.ClusterID(id),
		kfake.DataDir(filepath.Join(dir, "log")),
		kfake.SyncWrites(),
	)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return &Broker{cluster: cluster, address: cluster.ListenAddrs()[0]}, nil
}

// Address is where the broker listens.
func (b *Broker) Address() string { return b.address }

// Close ends the connections, writes what is open and gives the folder back.
func (b *Broker) Close() error {
	b.cluster.Close()
	return b.lock.Close()
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
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write cluster id: %w", err)
	}
	return id, nil
}
