//go:build unix

package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockFile is the environment variable that names the file by which a vigie of
// [BuildSettable] is told how far its time of day is after the true one, as
// [time.ParseDuration] reads it.
const ClockFile = "VIGIE_TEST_CLOCK"

const command = "github.com/vigie-dev/vigie/cmd/vigie"

// now is where Go's own package reads the clock, and settableNow the same for a
// clock that was set. Timers and what elapses go by the other, monotonic clock.
const (
	now         = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	settableNow = now + "\tsec += set.Load()\n"
)

// addedToTime and addedToVigie are the further files of the packages.
const (
	addedToTime = `package time

import "sync/atomic"

var set atomic.Int64

// SetAfter sets the time of day to so much after the true one.
func SetAfter(d Duration) { set.Store(int64(d / Second)) }
`
	addedToVigie = `package main

import (
	"os"
	"time"
)

func init() {
	path := os.Getenv("` + ClockFile + `")
	if path == "" {
		return
	}
	look := func() {
		text, _ := os.ReadFile(path)
		if d, err := time.ParseDuration(string(text)); err == nil {
			time.SetAfter(d)
		}
	}
	look()
	go func() {
		for {
			time.Sleep(20 * time.Millisecond)
			look()
		}
	}()
}
`
)

// errNoClock: this version of Go reads the clock elsewhere.
var errNoClock = errors.New("cannot replace the clock of this Go")

// BuildSettable is [Build] for a vigie whose time of day can be set, as an
// operator or a broken time server may set a machine's: wherever its code, or
// a library's, asks for the time. See [ClockFile]. It compiles everything that
// vigie is made of once more, standard library included, with the clock replaced.
func BuildSettable(ctx context.Context, folder string) (string, error) {
	root, err := output(ctx, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	own, err := output(ctx, "list", "-f", "{{.Dir}}", command)
	if err != nil {
		return "", err
	}
	clock := filepath.Join(root, "src", "time", "time.go")
	text, err := os.ReadFile(clock) //nolint:gosec // Go's own
	if err != nil {
		return "", fmt.Errorf("read the clock: %w", err)
	}
	if strings.Count(string(text), now) != 1 {
		return "", errNoClock
	}
	replaced := map[string]string{}
	for path, content := range map[string]string{
		clock:                                  strings.Replace(string(text), now, settableNow, 1),
		filepath.Join(root, "src/time/set.go"): addedToTime,
		filepath.Join(own, "clock.go"):         addedToVigie,
	} {
		aside := filepath.Join(folder, fmt.Sprintf("%d.go", len(replaced)))
		replaced[path] = aside
		if err := os.WriteFile(aside, []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("replace the clock: %w", err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", fmt.Errorf("replace the clock: %w", err)
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return "", fmt.Errorf("replace the clock: %w", err)
	}
	return build(ctx, folder, "-overlay", path)
}

// output is what a command of Go's says, in one line.
func output(ctx context.Context, args ...string) (string, error) {
	said, err := exec.CommandContext(ctx, "go", args...).Output() //nolint:gosec // constants
	if err != nil {
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(said)), nil
}
