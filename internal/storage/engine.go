package storage

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// engine is the kind of database that a storage is in: what differs in the
// SQL's surroundings goes by it. Everything else, all SQL of the services
// included, is the same text for both.
type engine int

const (
	engineSQLite engine = iota
	enginePostgres
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

// limit returns a context for one statement or transaction, so that a server
// that does not answer delays nobody. The function ends it.
func (e engine) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if e != enginePostgres {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, statementTimeout)
}

// storable says whether the database can store a string as text. PostgreSQL
// stores UTF-8 without NUL; what others send may be any bytes.
func (e engine) storable(s string) bool {
	return e != enginePostgres || utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// bind makes the arguments what the database can store. The replacement
// character stands for what its text cannot.
func (e engine) bind(args []any) []any {
	for i, arg := range args {
		if s, ok := arg.(string); ok && !e.storable(s) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}

// writeParameters writes (?, ?, …) for n parameters after the first used ones.
// SQLite looks a parameter with a name, which $1 is to it, up in a list of all
// names, each from its start: half the time of a statement with hundreds of
// them. PostgreSQL knows no others than $1, $2, ….
func (e engine) writeParameters(b *strings.Builder, used, n int) {
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		if e == enginePostgres {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(used + i + 1))
		} else {
			b.WriteByte('?')
		}
	}
	b.WriteByte(')')
}

// IsNotFound says whether a Scan found no row.
func IsNotFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }

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
