//go:build unix

package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Version is the release of Apache Kafka that pom.xml names.
const Version = "4.4.0"

// resolver is what maven copies the jars with; its version is pinned so that
// the same files come on every machine.
const resolver = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// resolveTimeout bounds the download, about 45 MB, the first time.
const resolveTimeout = 5 * time.Minute

// errMissing: this machine lacks what a broker needs; the text says what.
var errMissing = errors.New("real Kafka cannot run here")

//go:embed pom.xml
var pom []byte

//go:embed log4j2.properties
var logging []byte

// installation is where the jars are.
type installation struct {
	java string
	libs string // folder of jars
	// classes is an archive of loaded classes, which halves the time of a
	// start. It may be missing.
	classes string
}

// install brings the jars into the user's cache, once per pom.xml, whichever
// test process comes first.
func install(ctx context.Context) (installation, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return installation{}, fmt.Errorf("%w: no java in the PATH", errMissing)
	}
	cache, err := cacheFolder()
	if err != nil {
		return installation{}, err
	}
	lock, err := locked(cache)
	if err != nil {
		return installation{}, err
	}
	defer func() { _ = lock.Close() }()
	digest := sha256.Sum256(pom)
	home := filepath.Join(cache, hex.EncodeToString(digest[:6]))
	i := installation{java: java, libs: filepath.Join(home, "libs"), classes: filepath.Join(home, "classes.jsa")}
	if _, err := os.Stat(i.libs); err == nil {
		return i, nil
	}
	return i, i.download(ctx, home)
}

// download fills a folder aside and moves it: a download cut short leaves
// nothing that looks whole.
func (i installation) download(ctx context.Context, home string) error {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: no mvn in the PATH", errMissing)
	}
	if err := os.MkdirAll(home, 0o750); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	file := filepath.Join(home, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return fmt.Errorf("write pom: %w", err)
	}
	aside := i.libs + ".part"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("clear %s: %w", aside, err)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, maven, "--batch-mode", "--quiet", "--file", file, resolver, //nolint:gosec // constants
		"-DincludeScope=runtime", "-DoutputDirectory="+aside).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: mvn did not bring Kafka %s: %w\n%s", errMissing, Version, err, bytes.TrimSpace(output))
	}
	if err := os.Rename(aside, i.libs); err != nil {
		return fmt.Errorf("keep jars: %w", err)
	}
	return nil
}

// locked takes the cache's lock: test processes run side by side.
func locked(cache string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(cache, "lock"))
	if err := lock.Lock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", cache, err)
	}
	return lock, nil
}

// cacheFolder is ${XDG_CACHE_HOME:-~/.cache}/vigie/kafka-VERSION.
func cacheFolder() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find cache: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	dir := filepath.Join(base, "vigie", "kafka-"+Version)
	if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // the user's own choice
		return "", fmt.Errorf("make cache: %w", err)
	}
	return dir, nil
}
