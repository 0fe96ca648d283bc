package cli

import (
	"path/filepath"
	"testing"
)

// What cannot be meant is refused before anything is sent.
func TestLoadsThatCannotBeMeant(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none", "report.html")
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"another machine":       {[]string{"--commande-addr", "10.1.2.3:3001"}, []string{"http://10.1.2.3:3001 is not this machine", "--yes-this-host"}},
		"one of several":        {[]string{"--suivi-addr", "127.0.0.1:1,bank.example:1"}, []string{"http://bank.example:1 is not this machine"}},
		"no rate":               {[]string{"--rate", "0"}, []string{"--rate, --for", "less than one request"}},
		"a negative rate":       {[]string{"--rate=-5"}, []string{"--rate, --for", "want 0 to"}},
		"no number":             {[]string{"--rate", "fast"}, []string{"--rate"}},
		"no time":               {[]string{"--for", "0s"}, []string{"--for", "above 0"}},
		"an unknown shape":      {[]string{"--shape", "spiky"}, []string{"--shape", "did you mean spike"}},
		"an unknown kind":       {[]string{"--mix", "orders=1"}, []string{"--mix", `no kind "orders"`, "statistics"}},
		"a mix without weights": {[]string{"--mix", "order"}, []string{"--mix", "order=80"}},
		"a climb and a shape":   {[]string{"--find-knee", "--shape", "ramp"}, []string{"--find-knee and --shape"}},
		"a step too long":       {[]string{"--find-knee", "--step", "1m", "--for", "10s"}, []string{"do not fit"}},
		"a share of more":       {[]string{"--want-available", "99.9"}, []string{"--want-available", "between 0 and 1"}},
		"shrinking":             {[]string{"--want-growth", "0.5"}, []string{"--want-growth", "1 to 1000"}},
		"no user":               {[]string{"--users", "0"}, []string{"--users"}},
		"a token that is not":   {[]string{"--token-file", nowhere}, []string{"--token-file"}},
		"an argument":           {[]string{"fast"}, []string{"load"}},
		"requests for too long": {[]string{"--timeout", "1h"}, []string{"--timeout", "at most 1m"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, append([]string{"load"}, tt.args...)...).checkMisuse(t, tt.want...)
		})
	}
}
