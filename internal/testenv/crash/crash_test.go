//go:build unix && integration

package crash_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	crashtest "github.com/vigie-dev/vigie/internal/testenv/crash"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// setting reads a setting of `make crash`, or gives what CI runs.
func setting[T any](t *testing.T, name string, value T, parse func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv("CRASH_" + name)
	if text == "" {
		return value
	}
	parsed, err := parse(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return parsed
}

// What CI runs on each broker: the seeds are chosen for what their first rounds
// suffer.
const (
	// ciEmbedded: a flipped bit, a death between storing and publishing, purges
	// with a reset, a power cut of everything, a storm, a zombie.
	ciEmbedded, ciEmbeddedRounds = 1_696_726, 6
	// ciKafka: a power cut of everything, a death between publishing and marking,
	// foreign transactions, topics recreated.
	ciKafka, ciKafkaRounds = 182_132, 4
	// ciPostgres, with several instances on one database: a reset, a kill of the
	// database, a zombie, a death between publishing and marking.
	ciPostgres = 16_279
)

func databaseKind(s string) (string, error) {
	if s != "sqlite" && s != "postgres" {
		return "", errors.New("want sqlite or postgres")
	}
	return s, nil
}

// seed is that of `make crash`, or what CI runs.
func seed(t *testing.T, ci uint64) uint64 {
	t.Helper()
	return setting(t, "SEED", ci, func(s string) (uint64, error) {
		if s == "random" {
			return rand.Uint64N(1_000_000), nil
		}
		return strconv.ParseUint(s, 10, 64)
	})
}

// kind is a kind of broker, and what CI runs on it.
type kind struct {
	name   crashtest.Kind
	seed   uint64
	rounds int
	start  func(ctx context.Context, at crashtest.Home) (testsystem.Broker, error)
}

func kinds() []kind {
	return []kind{
		{crashtest.Embedded, ciEmbedded, ciEmbeddedRounds, func(ctx context.Context, at crashtest.Home) (testsystem.Broker, error) {
			return testsystem.StartEmbedded(ctx, at.Binary, at.Data, at.Folder, at.Env...)
		}},
		{crashtest.Kafka, ciKafka, ciKafkaRounds, func(ctx context.Context, at crashtest.Home) (testsystem.Broker, error) {
			return testkafka.New(ctx, filepath.Join(at.Folder, "kafka"))
		}},
		{crashtest.Cluster, 1, 4, func(ctx context.Context, at crashtest.Home) (testsystem.Broker, error) {
			return testkafka.NewCluster(ctx, filepath.Join(at.Folder, "kafka"))
		}},
	}
}

// TestCrashMatrix is `make crash`, and a short one in CI: few rounds of a fixed
// seed on each broker.
func TestCrashMatrix(t *testing.T) {
	text := func(s string) (string, error) { return s, nil }
	wanted := setting(t, "BROKER", "both", text)
	instances := 0
	postgres := setting(t, "DATABASE", "sqlite", databaseKind) == "postgres"
	if postgres {
		testpostgres.Require(t)
		instances = setting(t, "INSTANCES", 2, strconv.Atoi)
	}
	cfg := crashtest.Config{
		Postgres: postgres, Instances: instances,
		First: setting(t, "FIRST", 1, strconv.Atoi),
		Only:  setting(t, "FAULT", "", text),
		Away:  setting(t, "AWAY", 4*time.Second, time.ParseDuration),
	}
	var err error
	if cfg.Binary, err = testsystem.Build(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	settable := ""
	cfg.Settable = func(ctx context.Context) (string, error) {
		var err error
		if settable == "" {
			settable, err = testsystem.BuildSettable(ctx, t.TempDir())
		}
		return settable, err
	}
	ran := false
	for _, kind := range kinds() {
		if wanted != string(kind.name) && (wanted != "both" || kind.name == crashtest.Cluster) {
			continue
		}
		if kind.name != crashtest.Embedded {
			testkafka.Require(t)
		}
		ran = true
		cfg.Broker, cfg.StartBroker = kind.name, kind.start
		if postgres {
			kind.seed = ciPostgres
		}
		cfg.Seed = seed(t, kind.seed)
		fmt.Printf("seed %d\n%s\n", cfg.Seed, crashtest.Header())
		cfg.Rounds = setting(t, "N", kind.rounds, strconv.Atoi)
		failed, err := crashtest.Run(t.Context(), cfg, os.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		if failed > 0 {
			t.Errorf("%d of %d rounds on %s failed", failed, cfg.Rounds, kind.name)
		}
	}
	if !ran {
		t.Fatalf("BROKER=%s: want embedded, kafka, both or cluster", wanted)
	}
}
