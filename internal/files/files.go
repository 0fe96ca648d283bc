// Package files reads the small files that an operator names in the settings:
// secrets, tokens, certificates, and keeps what was made of them up to date. It
// exists so that each is read within bounds, and a change needs no restart.
package files

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// MaxSize bounds a file that [Read] reads, in bytes.
const MaxSize = 64 << 10

// Errors that a caller distinguishes.
var (
	// ErrTooLarge: a file is larger than it may be.
	ErrTooLarge = errors.New("file is too large")
	// ErrNoCertificate: a file of authorities has none.
	ErrNoCertificate = errors.New("no certificate in it")
)

// Read returns what a file holds, or [ErrTooLarge] where that is more than
// [MaxSize].
func Read(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's choice
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err == nil && len(content) > MaxSize {
		err = fmt.Errorf("%w: at most %d bytes", ErrTooLarge, MaxSize)
	}
	return content, err
}

// Make writes a file that its owner alone can read, whole or not at all, unless there is one of that
// name. Of several that make it at once, one does. It says whether it has.
func Make(path string, content []byte) (made bool, err error) {
	if _, err := os.Lstat(path); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	aside, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(aside.Name()) }()
	_, err = aside.Write(content)
	if err = errors.Join(err, aside.Sync(), aside.Close()); err != nil {
		return false, err
	}
	err = os.Link(aside.Name(), path)
	if errors.Is(err, fs.ErrExist) { // another was quicker
		return false, nil
	}
	return err == nil, err
}

// Authorities returns the certificates of a PEM file, which other certificates
// are checked against. It returns [ErrNoCertificate] where the file has none.
func Authorities(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator's choice
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoCertificate)
	}
	return pool, nil
}

// Parsed is what was made of the contents of some files. Run keeps it up to
// date while the files change, so that certificates and tokens are replaced
// without a restart; what cannot be used never takes the place of what could.
// Get may be called while Run runs.
type Parsed[T any] struct {
	paths   []string
	parse   func(contents [][]byte) (T, error)
	current atomic.Pointer[T]
	// Fingerprints, for Open and Run alone: what was taken over or refused
	// last, and what was there at the last look.
	settled, seen [sha256.Size]byte
	failed        atomic.Bool
}

// Open reads the files and makes a value of their contents, which come in the
// order of the paths. Errors of parse are logged: they must not repeat what the
// files hold.
func Open[T any](parse func(contents [][]byte) (T, error), paths ...string) (*Parsed[T], error) {
	return open(&Parsed[T]{paths: paths, parse: parse})
}

// Await is [Open] for a file that may not be there yet: until it is, the value is the zero
// one.
func Await[T any](parse func(contents [][]byte) (T, error), path string) (*Parsed[T], error) {
	f := &Parsed[T]{paths: []string{path}, parse: parse}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		f.current.Store(new(T))
		f.settled = fingerprint(f.read()) // that it is not there is no news
		return f, nil
	}
	return open(f)
}

func open[T any](f *Parsed[T]) (*Parsed[T], error) {
	contents, err := f.read()
	if err == nil {
		err = f.take(contents)
	}
	if err != nil {
		return nil, err
	}
	f.settled = fingerprint(contents, nil)
	return f, nil
}

// Get is the last good value.
func (f *Parsed[T]) Get() T { return *f.current.Load() }

// Failed says whether the files have changed and what they say now cannot be used.
func (f *Parsed[T]) Failed() bool { return f.failed.Load() }

// Run looks at the files until ctx ends. Contents are compared, not times: a
// file that is replaced within one tick of the clock, or through a symbolic
// link, is noticed as well. A change counts once two looks in a row have found
// the same, so that neither half a file is taken over nor one of two that belong
// together. A fault is logged once, until the files change again.
func (f *Parsed[T]) Run(ctx context.Context, every time.Duration, log *slog.Logger) error {
	return lifecycle.Every(ctx, every, func(ctx context.Context) error {
		switch changed, err := f.look(); {
		case err != nil:
			log.ErrorContext(ctx, "changed files cannot be used; their previous content stays in use", "files", f.paths, "error", err)
		case changed:
			log.InfoContext(ctx, "changed files are in use", "files", f.paths)
		}
		return nil
	})
}

// look reads the files and takes a change over that has settled. changed says
// whether there was one, good or not.
func (f *Parsed[T]) look() (changed bool, err error) {
	contents, err := f.read()
	before := f.seen
	f.seen = fingerprint(contents, err)
	if f.seen != before || f.seen == f.settled {
		return false, nil
	}
	f.settled = f.seen
	if err == nil {
		err = f.take(contents)
	}
	f.failed.Store(err != nil)
	return true, err
}

func (f *Parsed[T]) take(contents [][]byte) error {
	value, err := f.parse(contents)
	if err == nil {
		f.current.Store(&value)
	}
	return err
}

func (f *Parsed[T]) read() ([][]byte, error) {
	contents := make([][]byte, len(f.paths))
	for i, path := range f.paths {
		var err error
		if contents[i], err = Read(path); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return contents, nil
}

func fingerprint(contents [][]byte, err error) [sha256.Size]byte {
	hash := sha256.New()
	if err != nil {
		_, _ = io.WriteString(hash, err.Error())
	}
	for _, content := range contents {
		_ = binary.Write(hash, binary.BigEndian, int64(len(content))) // a hash takes everything
		_, _ = hash.Write(content)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
