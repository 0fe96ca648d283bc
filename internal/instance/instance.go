// Package instance is how tools find the system that runs in a data folder: who
// starts it leaves a small file there that says where its parts are, and holds a
// lock beside it, so that a file that a crash left behind is recognised.
package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

var (
	// ErrNone: no instance runs in the folder, and none left its file.
	ErrNone = errors.New("no instance runs")
	// ErrEnded: an instance ran in the folder, and ended without removing its
	// file, as after kill -9.
	ErrEnded = errors.New("no instance runs: the last one has ended without a stop")
	// ErrRunning: another instance runs in the folder.
	ErrRunning = errors.New("an instance runs")
)

// Instance is a system that runs, or ran, in a data folder. There is no secret
// in it. Fields are added, never renamed: tools of another version may read it.
type Instance struct {
	// Version is the program's; PID its process; Started when it was ready.
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Kafka are the bootstrap addresses. OwnBroker says that the broker is a
	// part of the instance.
	Kafka     []string `json:"kafka"`
	OwnBroker bool     `json:"ownBroker"`
	// Services are those that it runs, by their addresses: http://HOST:PORT.
	Services []Service `json:"services"`
	// Page is the URL of its page, and Prometheus that of the Prometheus which
	// watches it; "" for none. OwnPrometheus says that this is a part of the
	// instance.
	Page          string `json:"page,omitempty"`
	Prometheus    string `json:"prometheus,omitempty"`
	OwnPrometheus bool   `json:"ownPrometheus"`
	// Certificate is the file with the services' certificate, where they speak
	// TLS: the tools of the same machine trust it.
	Certificate string `json:"certificate,omitempty"`
	// Demo says that its orders are a demonstration's.
	Demo bool `json:"demo,omitempty"`
}

// Service is one service of an instance.
type Service struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// URL is where a service is, "" where the instance does not run it.
func (i Instance) URL(service string) string {
	for _, s := range i.Services {
		if s.Name == service {
			return s.URL
		}
	}
	return ""
}

const (
	file = "instance.json"
	lock = "instance.lock"

	maxSize = 1 << 20
	// patience is how long a start waits for tools that look at the lock, which
	// each takes for a moment.
	patience, retry = time.Second, 10 * time.Millisecond
)

// Running is an instance's presence in a folder.
type Running struct {
	dir  string
	lock *flock.Flock
}

// Announce says in the folder, which it creates if needed, that the instance
// runs there, until [Running.Close] or the end of the process. It returns
// [ErrRunning] where another does.
func Announce(ctx context.Context, dir string, i Instance) (*Running, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // the folder is the user's to choose
		return nil, fmt.Errorf("announce the instance: %w", err)
	}
	r := &Running{dir: dir, lock: flock.New(filepath.Join(dir, lock))}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	locked, err := r.lock.TryLockContext(waiting, retry)
	if !locked {
		_ = r.lock.Close()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w in %s", ErrRunning, dir)
		}
		return nil, fmt.Errorf("announce the instance: %w", err)
	}
	if err := r.write(i); err != nil {
		return nil, errors.Join(fmt.Errorf("announce the instance: %w", err), r.lock.Close())
	}
	return r, nil
}

// write puts the file in its place at once: nobody reads half of it.
func (r *Running) write(i Instance) error {
	body, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	partial, err := os.CreateTemp(r.dir, file+".*")
	if err != nil {
		return err
	}
	_, err = partial.Write(append(body, '\n'))
	if err = errors.Join(err, partial.Chmod(0o640), partial.Close()); err == nil {
		err = os.Rename(partial.Name(), filepath.Join(r.dir, file))
	}
	if err != nil {
		_ = os.Remove(partial.Name())
	}
	return err
}

// Close removes the file: the instance has stopped.
func (r *Running) Close() error {
	err := os.Remove(filepath.Join(r.dir, file))
	if errors.Is(err, fs.ErrNotExist) { // somebody has cleared the folder
		err = nil
	}
	return errors.Join(err, r.lock.Close())
}

// Read returns the instance that runs in the folder. It returns [ErrNone] where
// there is none, and [ErrEnded], beside what its file says, where it is not there
// any more.
func Read(dir string) (Instance, error) {
	var i Instance
	f, err := os.Open(filepath.Join(dir, file)) //nolint:gosec // the folder is the user's to choose
	if errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("%w in %s", ErrNone, dir)
	}
	if err != nil {
		return i, fmt.Errorf("look for an instance: %w", err)
	}
	defer func() { _ = f.Close() }()
	body, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err == nil {
		err = json.Unmarshal(body, &i)
	}
	if err != nil {
		return Instance{}, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if held, err := isHeld(dir); err != nil || held {
		return i, err
	}
	if _, err := os.Stat(f.Name()); errors.Is(err, fs.ErrNotExist) { // it was just stopping
		return Instance{}, fmt.Errorf("%w in %s", ErrNone, dir)
	}
	return i, fmt.Errorf("%w (process %d, in %s)", ErrEnded, i.PID, dir)
}

// isHeld says whether somebody holds the folder's lock.
func isHeld(dir string) (bool, error) {
	path := filepath.Join(dir, lock)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY)) // the folder may be another user's
	taken, err := l.TryRLock()
	if err != nil {
		return false, fmt.Errorf("look for an instance: %w", err)
	}
	return !taken, l.Close()
}
