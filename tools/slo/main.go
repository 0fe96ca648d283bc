// Command slo makes monitoring/rules/slo.yml of monitoring/slo, by Sloth's library,
// and with --check says whether it is what would be made. It is a module of its own,
// so that Sloth is in nobody else's build.
//
// main.go reads and writes the files; generate.go makes the rules, and adds to Sloth's
// what a system with few events needs.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	monitoring := flag.String("monitoring", "../../monitoring", "the folder monitoring")
	check := flag.Bool("check", false, "write nothing; fail where the rules are not what would be made")
	flag.Parse()
	if err := run(context.Background(), *monitoring, *check); err != nil {
		fmt.Fprintln(os.Stderr, "slo:", err)
		os.Exit(1)
	}
}

// errDrift: the rules that are there are not those of the objectives.
var errDrift = errors.New("rules/slo.yml is not what make slo makes of monitoring/slo")

// run makes the rules of a folder monitoring and writes them, or compares them with
// those that are there.
func run(ctx context.Context, monitoring string, check bool) error {
	rules, err := generate(ctx, monitoring)
	if err != nil {
		return err
	}
	sum, err := sumOf(monitoring)
	if err != nil {
		return err
	}
	text := append(head(sum, rules), rules...)
	path := filepath.Join(monitoring, "rules", "slo.yml")
	if !check {
		if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // it is for everybody to read
			return fmt.Errorf("write rules: %w", err)
		}
		return nil
	}
	there, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	if !bytes.Equal(there, text) {
		return errDrift
	}
	return nil
}

// head says where the rules come from. The sums are compared by a test that does
// without Sloth.
func head(inputs string, rules []byte) []byte {
	sum := sha256.Sum256(rules)
	return fmt.Appendf(nil, `# Do our promises about orders hold? Made by `+"`make slo`"+` from slo/*.yml; change those.
# inputs %s
# rules %s
`, inputs, hex.EncodeToString(sum[:]))
}

// sumOf is the sum of what the rules are made of: the objectives, the windows and
// this program.
func sumOf(monitoring string) (string, error) {
	sum := sha256.New()
	for _, pattern := range []string{"slo/*.yml", "slo/windows/*.yml", "../tools/slo/*.go", "../tools/slo/go.mod"} {
		names, err := filepath.Glob(filepath.Join(monitoring, pattern))
		if err != nil || len(names) == 0 {
			return "", fmt.Errorf("find %s: %d files, %w", pattern, len(names), err)
		}
		slices.Sort(names)
		for _, name := range names {
			text, err := os.ReadFile(name) //nolint:gosec // of the repository
			if err != nil {
				return "", fmt.Errorf("read what rules are made of: %w", err)
			}
			sum.Write(text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
