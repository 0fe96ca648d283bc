//go:build unix

package crash

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
)

// startDatabase starts the round's PostgreSQL, where the matrix has one, and
// returns the services' DATABASE_URL.
func (r *round) startDatabase(ctx context.Context) (url string, err error) {
	if !r.cfg.Postgres {
		return "", nil
	}
	if r.database, err = testpostgres.New(ctx); err != nil {
		return "", err
	}
	return r.database.Create(ctx)
}

// endDatabase leaves the end of its log with the round's.
func (r *round) endDatabase() {
	if r.database == nil {
		return
	}
	_ = os.WriteFile(filepath.Join(r.folder, "postgres.log"), []byte(r.database.LogTail()), 0o600)
	_ = r.database.Close()
}

// databaseBreakages is what a round with a database server can suffer besides.
func databaseBreakages() []breakage {
	return []breakage{
		{name: "kill database", during: killDatabase},
		{name: "freeze database", during: freezeDatabase},
		{name: "database away", during: databaseAway},
		{name: "kill database and services", during: killDatabaseAndServices},
	}
}

func killDatabase(ctx context.Context, r *round) error {
	return repeatedly(ctx, r, r.database.Kill, r.database.Restart)
}

func databaseAway(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	if r.random.IntN(2) == 0 {
		r.database.Kill()
	} else {
		r.database.Stop()
	}
	if err := lifecycle.Sleep(ctx, r.cfg.Away); err != nil {
		return err
	}
	return r.database.Restart(ctx)
}

// freezeDatabase leaves connections open that do not answer.
func freezeDatabase(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	if err := r.database.Freeze(); err != nil {
		return err
	}
	return errors.Join(lifecycle.Sleep(ctx, frozen), r.database.Thaw())
}

func killDatabaseAndServices(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	r.system.Kill()
	r.database.Kill()
	if err := r.database.Restart(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}
