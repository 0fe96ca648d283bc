package monitoring_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

// Each runbook belongs to an alert, names it, and answers the same questions.
func TestRunbooks(t *testing.T) {
	users := map[string][]string{}
	for name, alert := range alerts(t) {
		page := path.Base(alert.Annotations["runbook_url"])
		users[page] = append(users[page], name)
	}
	for _, file := range files(t, "runbooks/*.md") {
		page := filepath.Base(file)
		if page == "README.md" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(users[page]) == 0 {
			t.Errorf("%s: no alert leads here", file)
		}
		for _, alert := range users[page] {
			if !strings.Contains(string(text), "`"+alert+"`") && !strings.HasPrefix(string(text), "# "+alert+"\n") {
				t.Errorf("%s does not name %s", file, alert)
			}
		}
		headings := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(text), -1)
		var got []string
		for _, heading := range headings {
			got = append(got, heading[1])
		}
		if want := []string{"Meaning", "Impact", "First look", "Causes", "Mending", "Escalate"}; !slices.Equal(got, want) {
			t.Errorf("%s: sections %v, want %v", file, got, want)
		}
	}
	index, err := os.ReadFile("runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(alerts(t))) {
		if !strings.Contains(string(index), "`"+name+"`") {
			t.Errorf("runbooks/README.md does not list %s", name)
		}
	}
}

// What a runbook says to ask Prometheus can be asked.
func TestRunbooksAskForKnownMetrics(t *testing.T) {
	metrics, err := known.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```promql\n(.*?)^```$")
	asked := 0
	for _, file := range files(t, "runbooks/*.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[1]) {
				if err := metrics.Check(line); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				asked++
			}
		}
	}
	if asked == 0 {
		t.Error("no runbook asks anything")
	}
}
