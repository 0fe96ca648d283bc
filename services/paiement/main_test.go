package paiement

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
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

// verdicts is an authoriser whose verdicts the test chooses.
type verdicts func(ctx context.Context, orderID string) (Verdict, error)

func (v verdicts) Authorise(ctx context.Context, orderID string, _ banking.Money) (Verdict, error) {
	return v(ctx, orderID)
}

func now() time.Time {
	return time.Date(2026, 3, 4, 5, 6, 7, 123_456_789, time.FixedZone("", 3600))
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func order(id string) banking.OrderCreated {
	return banking.OrderCreated{
		EventID: "event-of-" + id, OrderID: id, UserID: "user-secret", Amount: 1050, Items: []string{"tea"},
		Status: banking.StatusCreated, CreatedAt: now(),
	}
}

// recordOf is how an event stands in Kafka; change may spoil it.
func recordOf(t *testing.T, e banking.Event, change func(*record.Record)) record.Record {
	t.Helper()
	value, err := banking.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	r := record.Record{
		Place: record.At(banking.TopicOrdersCreated, 0, 0), Key: []byte(e.Order()), Value: value,
		Headers: []record.Header{
			{Key: record.HeaderEventID, Value: []byte(e.ID())},
			{Key: record.HeaderEventType, Value: []byte(e.Type())},
		},
	}
	if change != nil {
		change(&r)
	}
	return r
}

// setHeader gives a record's header another value.
func setHeader(r *record.Record, name, value string) {
	for i, h := range r.Headers {
		if h.Key == name {
			r.Headers[i].Value = []byte(value)
		}
	}
}

// openStore opens an empty storage.
func openStore(t *testing.T, empty maker) *storage.Store {
	t.Helper()
	return storeAt(t, empty(t))
}

// openSQLite opens an empty storage, where the kind makes no difference.
func openSQLite(t *testing.T) *storage.Store {
	t.Helper()
	return storeAt(t, "sqlite:"+t.TempDir())
}

// deciderOn is a decider on a storage, with empty topics beside it.
func deciderOn(s *storage.Store) *decider {
	state := store{s}
	return &decider{store: state, purges: newUnread(state, memlog.New(now)), now: now}
}

// storeAt opens a storage that others may have open as well.
func storeAt(t *testing.T, url string) *storage.Store {
	t.Helper()
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(t.Context(), url, Name, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustNotContain(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
}

// decidesFrom is the time from which on a ledger has orders decided.
func decidesFrom(t *testing.T, s store) (time.Time, error) {
	t.Helper()
	h, err := s.Horizon(t.Context(), record.Partition{})
	return h.from, err
}
