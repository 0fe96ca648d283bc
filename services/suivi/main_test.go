package suivi

import (
	"fmt"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
)

// postgres is the server of all tests here, where there is one.
var postgres testpostgres.Shared

func TestMain(m *testing.M) { leaks.Main(postgres.Around(m)) }

// maker gives the URL of an empty storage.
type maker = func(testing.TB) string

func onEach(t *testing.T, test func(t *testing.T, empty maker)) {
	t.Helper()
	postgres.OnEach(t, test)
}

func sqliteIn(t testing.TB) string { return "sqlite:" + t.TempDir() }

// at is a moment, so many minutes after the first.
func at(minutes int) time.Time {
	return time.Date(2026, 3, 4, 5, minutes, 0, 123_000, time.UTC)
}

func created(id string, minute int) fact {
	return fact{
		EventID: "created-" + id, Type: banking.TypeOrderCreated, At: at(minute), Status: banking.OrderStatusCreated,
		OrderID: id, UserID: "user-1", Amount: 1050, Items: []string{"tea", "cake"},
	}
}

func authorized(id string, minute int) fact {
	return fact{
		EventID: "authorized-" + id, Type: banking.TypePaymentAuthorized, At: at(minute), Status: banking.OrderStatusAuthorized,
		OrderID: id, UserID: "user-1", Amount: 1050, AuthorizationCode: "AUTH-1", Cause: "created-" + id,
	}
}

func rejected(id string, minute int) fact {
	return fact{
		EventID: "rejected-" + id, Type: banking.TypePaymentRejected, At: at(minute), Status: banking.OrderStatusRejected,
		OrderID: id, UserID: "user-1", Amount: 1050, RejectionReason: "card_expired", Cause: "created-" + id,
	}
}

// failed is the try-th dead letter of an order; every third says the same.
func failed(id string, minute, try int) fact {
	return fact{
		EventID: fmt.Sprintf("orders.created/0/%d", try), Type: banking.TypePaymentFailed, At: at(minute), Status: banking.OrderStatusFailed,
		OrderID: id, UserID: "user-1", Amount: 1050, FailureReason: fmt.Sprintf("reason-%d", try%3), Cause: "created-" + id,
	}
}

// openTracker opens a tracker on an empty storage.
func openTracker(t *testing.T, empty maker) *tracker {
	t.Helper()
	return trackerAt(t, empty(t))
}

// trackerAt opens a tracker on a storage that others may have as well.
func trackerAt(t *testing.T, url string, opts ...storage.Option) *tracker {
	t.Helper()
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(t.Context(), url, Name, own, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &tracker{store: store{s}, log: slog.New(slog.DiscardHandler)}
}

// storeAll stores facts as one batch.
func storeAll(t *testing.T, tr *tracker, facts ...fact) {
	t.Helper()
	decided := make([]delivery.Decided[*fact], len(facts))
	for i := range facts {
		decided[i] = delivery.Decided[*fact]{Context: t.Context(), Change: &facts[i]}
	}
	applyDecided(t, tr, decided)
}

func applyDecided(t *testing.T, tr *tracker, decided []delivery.Decided[*fact]) {
	t.Helper()
	if err := tr.store.Update(t.Context(), func(tx *storage.Tx) error { return tr.Store(t.Context(), tx, decided) }); err != nil {
		t.Fatal(err)
	}
	tr.Stored(decided)
}

func stored(t *testing.T, tr *tracker, id string) (v view) {
	t.Helper()
	if err := tr.store.Update(t.Context(), func(tx *storage.Tx) error {
		found, err := find(t.Context(), tx, []string{id})
		v = found[id]
		v.Revision = 0 // how often it was written is no part of what is known
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

func total(t *testing.T, tr *tracker) (n int64) {
	t.Helper()
	n, err := tr.store.Count(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}
