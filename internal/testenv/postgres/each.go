//go:build unix

package postgres

import "testing"

// OnEach runs a test on every database of the tier: on SQLite in `make test`,
// also on PostgreSQL in `make test-integration`. The test gets a function that
// gives the DATABASE_URL of an empty storage.
func (s *Shared) OnEach(t *testing.T, test func(t *testing.T, empty func(testing.TB) string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) string { t.Helper(); return "sqlite:" + t.TempDir() })
	})
	if integration {
		t.Run("postgres", func(t *testing.T) { Require(t); test(t, s.Database) })
	}
}
