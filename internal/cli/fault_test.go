package cli

import (
	"io/fs"
	"slices"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/services/paiement"
)

// Every fault has a name of its own, says what it does, and names alerts that there are.
func TestFaultsNameAlerts(t *testing.T) {
	var alerts []string
	files, err := fs.Glob(monitoring.Files, "rules/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(monitoring.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		var rules struct {
			Groups []struct{ Rules []struct{ Alert string } }
		}
		if err := yaml.Unmarshal(text, &rules); err != nil {
			t.Fatal(err)
		}
		for _, group := range rules.Groups {
			for _, rule := range group.Rules {
				alerts = append(alerts, rule.Alert)
			}
		}
	}
	all := slices.Concat(faults.OfBroker(faults.NewGate(), nil), faults.OfStrangers(kafka.Config{}), (&paiement.Adjustable{}).Faults(),
		faults.OfStorage("", paiement.Name), []faults.Fault{faults.Flood("")})
	var names []string
	for _, f := range all {
		if f.Name == "" || f.Does == "" || (f.Alert == "") != (f.Within == 0) || slices.Contains(names, f.Name) {
			t.Errorf("%+v", f)
		}
		names = append(names, f.Name)
		for _, alert := range append([]string{f.Alert}, f.Follows...) {
			if alert != "" && !slices.Contains(alerts, alert) {
				t.Errorf("%s: no alert is called %s", f.Name, alert)
			}
		}
	}
	if most := faults.Catalogue()[0].MaxSeries; len(names) > most {
		t.Errorf("%d faults, and the metric has room for %d", len(names), most)
	}
}
