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

// resolveTimeout bounds the download, about 50 MB, the first time.
const resolveTimeout = 5 * time.Minute

// exporterJar begins the name of the JMX exporter's jar.
const exporterJar = "jmx_prometheus_httpserver"

//go:embed pom.xml
var pom []byte

//go:embed log4j2.properties
var logging []byte

// java is what runs the broker and its exporter.
type java struct {
	program string
	libs    string // folder of jars
}

// findJava brings the jars into the cache, once per pom.xml.
func findJava(ctx context.Context) (java, error) {
	program, err := exec.LookPath("java")
	if err != nil {
		return java{}, fmt.Errorf("%w: no java in the PATH", errMissing)
	}
	digest := sha256.Sum256(pom)
	libs, err := once("jars-"+hex.EncodeToString(digest[:6]), func(aside string) error { return copyJars(ctx, aside) })
	return java{program, libs}, err
}

func copyJars(ctx context.Context, aside string) error {
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

// exporter is the JMX exporter's jar.
func (j java) exporter() (string, error) {
	found, err := filepath.Glob(filepath.Join(j.libs, exporterJar+"-*.jar"))
	if err == nil && len(found) != 1 {
		err = errors.New("want one")
	}
	if err != nil {
		return "", fmt.Errorf("find %s in %s: %v, %w", exporterJar, j.libs, found, err)
	}
	return found[0], nil
}
