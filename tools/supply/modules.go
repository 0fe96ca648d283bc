package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// own is the module whose parts are no dependencies.
const own = "github.com/vigie-dev/vigie"

// covered is how much of a licence's file, in percent, has to be the text of known
// licences: the rest is names and years. Less is a text that somebody has to read.
const covered = 75

// mayBe are the licences that a dependency may have: each lets a program that is
// linked with it be passed on under another licence. Of MPL-2.0 the module's own
// files stay what they are.
func mayBe() []string {
	return []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-2-Clause-Views", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense", "Zlib"}
}

// linked are the modules that the command is built from, with the folders that they
// are in, on every system that it is built for. One that is replaced by a folder is
// a part of this repository.
func linked(root string) (map[string]string, error) {
	modules := map[string]string{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		var problem bytes.Buffer
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if or (not .Replace) .Replace.Version}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./cmd/vigie")
		cmd.Dir, cmd.Stderr = root, &problem
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list modules for %s: %w: %s", system, err, problem.String())
		}
		for line := range strings.Lines(string(out)) {
			path, folder, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if path != "" && path != own && !strings.HasPrefix(path, own+"/") {
				modules[path] = folder
			}
		}
	}
	if len(modules) == 0 {
		return nil, errors.New("list modules: there are none")
	}
	return modules, nil
}

// licences are the modules by their licences, in order. The error names each whose
// licence may not be there, or cannot be told.
func licences(modules map[string]string) (map[string][]string, error) {
	found := map[string][]string{}
	var problems []error
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		licence, err := of(modules[module])
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", module, err))
			continue
		}
		found[licence] = append(found[licence], module)
	}
	return found, errors.Join(problems...)
}

// of is the licence of the module in a folder; of several, all.
func of(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("look for a licence: %w", err)
	}
	name := regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-.](md|txt|mit|bsd|apache.*))?$`)
	var ids []string
	for _, e := range entries {
		if e.IsDir() || !name.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return "", fmt.Errorf("read its licence: %w", err)
		}
		c := licensecheck.Scan(text)
		if c.Percent < covered {
			return "", fmt.Errorf("%.0f %% of its %s is a licence that is known", c.Percent, e.Name())
		}
		for _, m := range c.Match {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return "", errors.New("it has no file with a licence")
	}
	for _, id := range ids {
		if !slices.Contains(mayBe(), id) {
			return "", fmt.Errorf("its licence is %s, which is not among those that may be there", id)
		}
	}
	return strings.Join(ids, " and "), nil
}
