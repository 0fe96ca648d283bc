package sentinelle

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/service"
)

// On a cluster without a bank nobody is asked for services, orders or figures, and
// nothing is said of them.
func TestWithoutABankOnlyTheClusterIsShown(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, service.Surroundings{})
	s.look(t)
	s.look(t)
	if len(b.asked) > 0 {
		t.Errorf("asked for %v", b.asked)
	}
	w := s.get(t, "/")
	body := w.Body.String()
	if w.Code != http.StatusOK || !strings.Contains(body, "The cluster, now") {
		t.Errorf("%d %s", w.Code, body)
	}
	for _, word := range []string{"order", "Order", "Prometheus", "service", "Services", "commande", "/alerts", "/state", "bank"} {
		if strings.Contains(body, word) {
			t.Errorf("the page of a cluster says %q:\n%s", word, body)
		}
	}
	for _, path := range []string{"/orders", "/orders/order-1", "/state", "/graphs", "/alerts", "/runbooks/ServiceDown"} {
		if w := s.get(t, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	s.CheckCatalogue()
}
