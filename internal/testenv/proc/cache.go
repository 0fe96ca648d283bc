package proc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// cacheFolder is ${XDG_CACHE_HOME:-~/.cache}/vigie/servers.
func cacheFolder() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find cache: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	path := filepath.Join(base, "vigie", "servers")
	if err := os.MkdirAll(path, 0o750); err != nil { //nolint:gosec // the user's own choice
		return "", fmt.Errorf("make cache: %w", err)
	}
	return path, nil
}

// Cached returns the path of what [Once] has made under the name.
func Cached(name string) (path string, ok bool) {
	cache, err := cacheFolder()
	if err != nil {
		return "", false
	}
	path = filepath.Join(cache, name)
	_, err = os.Stat(path)
	return path, err == nil
}

// Once has fill make a file or a folder in the user's cache unless it is there,
// and returns its path. Test processes run side by side, and one heavy build at
// a time is enough: they take turns. fill works on a path aside, in a folder
// that it may use and that is removed; the path is then moved, so that what is
// cut short leaves nothing that looks whole. fill must not call Once.
func Once(name string, fill func(aside string) error) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	lock := flock.New(filepath.Join(cache, "lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("lock %s: %w", cache, err)
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	aside, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(aside) }()
	result := filepath.Join(aside, "result")
	if err := fill(result); err != nil {
		return "", err
	}
	if err := os.Rename(result, path); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	return path, nil
}

// resolver is what maven copies jars with; its version is pinned so that the
// same files come on every machine.
const resolver = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// resolveTimeout bounds a download, 45 to 130 MB, the first time.
const resolveTimeout = 15 * time.Minute

// Java is what runs a server's jars.
type Java struct {
	Program string
	Libs    string // folder of the jars
	// Name is the jars' name in the cache, another for every text of the POM.
	Name string
}

// FindJava brings the jars that a POM names into the cache. The error is
// [ErrMissing] where there is no java, no mvn or no download.
func FindJava(ctx context.Context, server string, pom []byte) (Java, error) {
	program, err := exec.LookPath("java")
	if err != nil {
		return Java{}, fmt.Errorf("%w: no java in the PATH", ErrMissing)
	}
	digest := sha256.Sum256(pom)
	name := server + "-" + hex.EncodeToString(digest[:6])
	libs, err := Once(name, func(aside string) error { return copyJars(ctx, pom, aside) })
	return Java{program, libs, name}, err
}

func copyJars(ctx context.Context, pom []byte, aside string) error {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: no mvn in the PATH", ErrMissing)
	}
	file := aside + "-pom.xml"
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return fmt.Errorf("write pom: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, maven, "--batch-mode", "--quiet", "--file", file, resolver, //nolint:gosec // constants
		"-DincludeScope=runtime", "-DoutputDirectory="+aside).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: mvn did not bring the jars: %w\n%s", ErrMissing, err, End(string(output)))
	}
	return nil
}

// Jar is the jar whose name begins so.
func (j Java) Jar(name string) (string, error) {
	found, err := filepath.Glob(filepath.Join(j.Libs, name+"-*.jar"))
	if err == nil && len(found) != 1 {
		err = errors.New("want one")
	}
	if err != nil {
		return "", fmt.Errorf("find %s in %s: %v, %w", name, j.Libs, found, err)
	}
	return found[0], nil
}
