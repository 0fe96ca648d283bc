package cli

import (
	"errors"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/storage"
)

// Names of the flags that say where state is kept.
const (
	flagDatabase            = "database-url"
	flagDatabaseConnections = "database-max-connections"
)

func databaseFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagDatabase, Sources: env(flagDatabase), Category: "Storage", HideDefault: true,
		Usage: "where the services keep their state: sqlite:FOLDER (default: the data folder) or, for several instances, " +
			"postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full",
	}
}

func databaseFileFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagDatabase + flagFileSuffix, Sources: env(flagDatabase + flagFileSuffix), Category: "Storage",
		Usage: "`FILE` with that URL; better where it has a password, since others may see a process's arguments",
	}
}

func databaseConnectionsFlag() cli.Flag {
	return &cli.IntFlag{
		Name: flagDatabaseConnections, Sources: env(flagDatabaseConnections), Value: storage.DefaultConnections, Category: "Storage",
		Usage: "the most connections to PostgreSQL of each service's instance", Validator: positive,
	}
}

func positive(n int) error {
	if n < 1 {
		return errors.New("want a number above 0")
	}
	return nil
}

// databaseURL is where a command's flags say that state is kept. It may hold a
// password: what is shown is [storage.Redacted].
func databaseURL(c *cli.Command) (string, error) {
	url, err := secretOf(c, flagDatabase)
	if err != nil {
		return "", err
	}
	if url.Present() {
		return url.Reveal(), nil
	}
	return "sqlite:" + c.String(flagData), nil
}
