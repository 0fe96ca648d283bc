package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v3"
)

// What cannot be meant is refused before anything is sent.
func TestLoadsThatCannotBeMeant(t *testing.T) {
	dir := t.TempDir()
	nowhere := filepath.Join(dir, "none", "report.html")
	scenario := func(name, text string) string {
		path := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"another machine":        {[]string{"--commande-addr", "10.1.2.3:3001"}, []string{"http://10.1.2.3:3001 is not this machine", "--yes-this-host"}},
		"one of several":         {[]string{"--suivi-addr", "127.0.0.1:1,bank.example:1"}, []string{"http://bank.example:1 is not this machine"}},
		"no rate":                {[]string{"--rate", "0"}, []string{"--rate, --for", "less than one request"}},
		"a negative rate":        {[]string{"--rate=-5"}, []string{"--rate, --for", "want 0 to"}},
		"no number":              {[]string{"--rate", "fast"}, []string{"--rate"}},
		"no time":                {[]string{"--for", "0s"}, []string{"--for", "above 0"}},
		"an unknown shape":       {[]string{"--shape", "spiky"}, []string{"--shape", "did you mean spike"}},
		"an unknown kind":        {[]string{"--mix", "orders=1"}, []string{"--mix", `no kind "orders"`, "statistics"}},
		"a mix without weights":  {[]string{"--mix", "order"}, []string{"--mix", "order=80"}},
		"a climb and a shape":    {[]string{"--find-knee", "--shape", "ramp"}, []string{"--find-knee and --shape"}},
		"a step too long":        {[]string{"--find-knee", "--step", "1m", "--for", "10s"}, []string{"do not fit"}},
		"a share of more":        {[]string{"--want-available", "99.9"}, []string{"--want-available", "between 0 and 1"}},
		"shrinking":              {[]string{"--want-growth", "0.5"}, []string{"--want-growth", "1 to 1000"}},
		"no user":                {[]string{"--users", "0"}, []string{"--users"}},
		"a token that is not":    {[]string{"--token-file", nowhere}, []string{"--token-file"}},
		"no scenario":            {[]string{"--scenario", "smok"}, []string{"--scenario", "black-friday", "smoke"}},
		"a scenario of nothing":  {[]string{"--scenario", scenario("empty", "")}, []string{"no scenario"}},
		"without a description":  {[]string{"--scenario", scenario("bare", "rate: 5")}, []string{"no description"}},
		"an unknown setting":     {[]string{"--scenario", scenario("unknown", "description: d\nspeed: 5")}, []string{`no setting "speed"`}},
		"another host by a file": {[]string{"--scenario", scenario("host", "description: d\nyes-this-host: true")}, []string{`no setting "yes-this-host"`}},
		"a setting of nonsense":  {[]string{"--scenario", scenario("nonsense", "description: d\nrate: fast")}, []string{`rate cannot be "fast"`}},
		"a share beyond all":     {[]string{"--scenario", scenario("share", "description: d\nwant-fast: 99")}, []string{`want-fast cannot be "99"`}},
		"points that go back":    {[]string{"--scenario", scenario("back", "description: d\npoints: [{at: 0s, rate: 1}, {at: 9s, rate: 1}, {at: 5s, rate: 1}]")}, []string{"stands behind"}},
		"points of nonsense":     {[]string{"--scenario", scenario("points", "description: d\npoints: [{at: 0s, height: 1}]")}, []string{"no scenario"}},
		"one report":             {[]string{"compare", nowhere}, []string{"two files"}},
		"reports that are not":   {[]string{"compare", nowhere, nowhere}, []string{"load compare", nowhere}},
		"files that are others":  {[]string{"compare", scenario("a", "{}"), scenario("b", "{}")}, []string{"no report"}},
		"an argument":            {[]string{"fast"}, []string{"load"}},
		"requests for too long":  {[]string{"--timeout", "1h"}, []string{"--timeout", "at most 1m"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, append([]string{"load"}, tt.args...)...).checkMisuse(t, tt.want...)
		})
	}
}

// Every scenario that is shipped can be meant, and says what it is for.
func TestShippedScenarios(t *testing.T) {
	names := scenarioNames()
	if len(names) < 6 {
		t.Fatalf("%v", names)
	}
	for _, name := range names {
		c := &cli.Command{Flags: append(loadFlags(), wantFlags()...), Action: func(_ context.Context, c *cli.Command) error {
			s, err := applyScenario(c)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c, s)
			if err == nil && (cfg.Name != name || cfg.Curve.Total() < 100) {
				t.Errorf("%s is %s, of %v requests", name, cfg.Name, cfg.Curve.Total())
			}
			return err
		}}
		if err := c.Run(t.Context(), []string{"load", "--scenario", name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Flags that are set go before a scenario's settings, and stretch its points.
func TestFlagsGoBeforeAScenario(t *testing.T) {
	for _, tt := range []struct {
		args         []string
		rate, length float64
		poisson      bool
	}{
		{[]string{"--scenario", "smoke", "--rate", "7"}, 7, 30, false},
		{[]string{"--scenario", "day"}, 40, 120, true},
		{[]string{"--scenario", "day", "--rate", "80", "--for", "60s"}, 80, 60, true},
		{[]string{"--scenario", "day", "--shape", "constant", "--rate", "3", "--for", "60s", "--poisson=false"}, 3, 60, false},
	} {
		c := &cli.Command{Flags: append(loadFlags(), wantFlags()...), Action: func(_ context.Context, c *cli.Command) error {
			s, err := applyScenario(c)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c, s)
			if got := cfg.Curve; err == nil && (got.Highest() != tt.rate || got.Length().Seconds() != tt.length || cfg.Poisson != tt.poisson) {
				t.Errorf("%v: %v a second for %v, %v", tt.args, got.Highest(), got.Length(), cfg.Poisson)
			}
			return err
		}}
		if err := c.Run(t.Context(), append([]string{"load"}, tt.args...)); err != nil {
			t.Error(err)
		}
	}
}
