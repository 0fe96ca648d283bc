package analyseur

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

// noon is when the tests' statistics are asked for, unless they say otherwise.
func noon() time.Time { return time.Date(2026, 3, 4, 12, 0, 30, 0, time.UTC) }

func payment(n int, status string, cents banking.Money, at time.Time) Transaction {
	id := fmt.Sprintf("order-%d", n)
	return Transaction{EventID: "decided-" + id, OrderID: id, UserID: "user-1", Status: status, Amount: cents, ProcessedAt: at}
}

// openCounter opens a counter on an empty storage.
func openCounter(t *testing.T, empty maker) *counter {
	t.Helper()
	return counterAt(t, empty(t))
}

// counterAt opens a counter on a storage that others may have as well.
func counterAt(t *testing.T, url string, opts ...storage.Option) *counter {
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
	return &counter{store: store{s}, log: slog.New(slog.DiscardHandler)}
}

// storeAll stores transactions as one batch.
func storeAll(t *testing.T, c *counter, all ...Transaction) {
	t.Helper()
	var decided []delivery.Decided[Transaction]
	for _, tx := range all {
		decided = append(decided, delivery.Decided[Transaction]{Context: t.Context(), Change: tx})
	}
	if err := c.store.Update(t.Context(), func(tx *storage.Tx) error { return c.Store(t.Context(), tx, decided) }); err != nil {
		t.Fatal(err)
	}
	c.Stored(decided)
}

func statisticsAt(t *testing.T, c *counter, now time.Time) statistics {
	t.Helper()
	s, err := c.store.Statistics(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
