//go:build integration

package analyseur

import (
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Instances that count at once, some of it the same payments, have sums in
// which each payment is once.
func TestInstancesCountEachPaymentOnce(t *testing.T) {
	const payments, each = 300, 4
	url := postgres.Database(t)
	var group sync.WaitGroup
	for i := range each {
		c := counterAt(t, url)
		group.Go(func() {
			for first := 0; first < payments; first += 20 {
				var batch []delivery.Decided[Transaction]
				for n := range 20 {
					id := (first + n*(i+1)) % payments // in another order each
					status := banking.StatusAuthorized
					if id%3 == 0 {
						status = banking.StatusRejected
					}
					batch = append(batch, delivery.Decided[Transaction]{Change: payment(id, status, 100, noon().Add(-time.Duration(id%7)*time.Minute))})
				}
				if err := c.store.Update(t.Context(), func(tx *storage.Tx) error { return c.Store(t.Context(), tx, batch) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	s := statisticsAt(t, counterAt(t, url), noon())
	if want := (sum{payments / 3 * 2, payments / 3 * 200}); s.authorized != want {
		t.Errorf("authorised %+v, want %+v", s.authorized, want)
	}
	if want := (sum{payments / 3, payments / 3 * 100}); s.rejected != want {
		t.Errorf("rejected %+v, want %+v", s.rejected, want)
	}
	if s.lastHour != s.all() {
		t.Errorf("last hour %+v, all of %+v", s.lastHour, s.all())
	}
}
