package monitoring_test

import (
	"slices"
	"testing"

	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/services/paiement"
)

// What `vigie fault list` says has to fire is an alert of the rules; only a flood of
// orders is no fault.
func TestFaultsNameAlerts(t *testing.T) {
	all := alerts(t)
	offered := slices.Concat(faults.OfBroker(faults.NewGate(), nil), faults.OfStrangers(kafka.Config{}), (&paiement.Adjustable{}).Faults(),
		faults.OfStorage("", paiement.Name), []faults.Fault{faults.Flood("")})
	for _, f := range offered {
		if (f.Alert == "") != (f.Name == faults.Flood("").Name) {
			t.Errorf("%s: alert %q", f.Name, f.Alert)
		}
		if f.Alert != "" && f.Within <= 0 {
			t.Errorf("%s: %s is to fire within %s", f.Name, f.Alert, f.Within)
		}
		for _, name := range append(f.Follows, f.Alert) {
			if rule, known := all[name]; name != "" && (!known || name != f.Alert && rule.Labels["severity"] != "critical") {
				t.Errorf("%s: no alert is called %s, or what follows is no page", f.Name, name)
			}
		}
	}
}
