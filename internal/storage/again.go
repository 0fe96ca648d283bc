package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	// maxTries is how often a transaction that came into another's way is
	// tried before whoever wants it is told.
	maxTries = 10
	maxWait  = 20 * time.Millisecond
)

// Codes of PostgreSQL (appendix A of its manual) and SQLite (rescode.html).
const (
	codeSerialization      = "40001"
	codeDeadlock           = "40P01"
	codeUnique             = "23505"
	codeStarting           = "57P03"
	codeTooManyConnections = "53300"
	sqlitePrimaryKey       = 1555
	sqliteUnique           = 2067
)

// again does work, and does it again for as long as another's came in between.
// Those who met wait for different times, so that they do not meet again.
func again(ctx context.Context, work func() error) error {
	for try := 1; ; try++ {
		err := work()
		if err == nil || try == maxTries || !isConflict(err) {
			return err
		}
		if lifecycle.Sleep(ctx, rand.N(time.Duration(try)*maxWait)) != nil { //nolint:gosec // no secret
			return err
		}
	}
}

// isConflict says whether a transaction failed for no other reason than that
// another was under way beside it.
func isConflict(err error) bool {
	code := postgresCode(err)
	return errors.Is(err, ErrConflict) || code == codeSerialization || code == codeDeadlock
}

// IsUnique says whether a row was refused because there is one of its key.
func IsUnique(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlitePrimaryKey || e.Code() == sqliteUnique
	}
	return postgresCode(err) == codeUnique
}

// postgresCode is the error's SQLSTATE, or "".
func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
