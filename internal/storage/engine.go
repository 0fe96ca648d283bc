package storage

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pressly/goose/v3/database"
)

// engine is what differs between the databases. Everything else, all SQL of
// the services included, is the same text for both.
type engine struct {
	dialect database.Dialect // goose's name for it
	// numbered says that parameters in bulk statements are $1, $2, … Where
	// they are, the driver also keeps the statements prepared by itself.
	numbered bool
	// rowLocks is what a query ends with that keeps its rows to the
	// transaction; "" where a writer is alone anyway.
	rowLocks string
	// patience bounds each statement and transaction, so that a server that
	// does not answer holds nobody up; 0 where there is no server.
	patience time.Duration
}

func sqliteEngine() engine { return engine{dialect: database.DialectSQLite3} }

func postgresEngine() engine {
	return engine{dialect: database.DialectPostgres, numbered: true, rowLocks: " FOR UPDATE", patience: patience}
}

// isolation is what a transaction is begun with. READ COMMITTED is named since
// a server may have another default, which would fail where it now waits.
func (e engine) isolation() *sql.TxOptions {
	if !e.numbered {
		return nil
	}
	return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
}

// limit returns a context for one statement. The function ends it.
func (e engine) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if e.patience == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, e.patience)
}

// storable says whether the database's text can hold a string. PostgreSQL's
// holds UTF-8 without NUL; what others send may be any bytes.
func (e engine) storable(s string) bool {
	return !e.numbered || utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// bind makes the arguments what the database can hold. The replacement
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
// them. PostgreSQL knows no others.
func (e engine) writeParameters(b *strings.Builder, used, n int) {
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		if e.numbered {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(used + i + 1))
		} else {
			b.WriteByte('?')
		}
	}
	b.WriteByte(')')
}
