//go:build unix

package servers

import (
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
)

// resolver is what maven copies the jars with; its version is pinned so that
// the same files come on every machine.
const resolver = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// resolveTimeout bounds a download, 50 or 130 MB, the first time.
const resolveTimeout = 5 * time.Minute

// What the names of jars begin with.
const (
	exporterJar = "jmx_prometheus_httpserver"
	zipkinJar   = "zipkin-server"
)

//go:embed pom.xml
var kafkaPOM []byte

//go:embed zipkin.xml
var zipkinPOM []byte

//go:embed log4j2.properties
var logging []byte

// java is what runs a server's jars.
type java struct {
	program string
	libs    string // folder of jars
}

// findJava brings the jars that a POM names into the cache, once per POM.
func findJava(ctx context.Context, pom []byte) (java, error) {
	program, err := exec.LookPath("java")
	if err != nil {
		return java{}, fmt.Errorf("%w: no java in the PATH", errMissing)
	}
	digest := sha256.Sum256(pom)
	libs, err := once("jars-"+hex.EncodeToString(digest[:6]), func(aside string) error { return copyJars(ctx, pom, aside) })
	return java{program, libs}, err
}

func copyJars(ctx context.Context, pom []byte, aside string) error {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: no mvn in the PATH", errMissing)
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
		return fmt.Errorf("%w: mvn did not bring the jars: %w\n%s", errMissing, err, tail(output))
	}
	return nil
}

// jar is the jar whose name begins so.
func (j java) jar(name string) (string, error) {
	found, err := filepath.Glob(filepath.Join(j.libs, name+"-*.jar"))
	if err == nil && len(found) != 1 {
		err = errors.New("want one")
	}
	if err != nil {
		return "", fmt.Errorf("find %s in %s: %v, %w", name, j.libs, found, err)
	}
	return found[0], nil
}
