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

	"go.uber.org/goleak"

	crashtest "github.com/vigie-dev/vigie/internal/testenv/crash"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
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

// ciSeed begins with a death between publishing and marking, a kill of all
// services, one of the broker and a zombie, and goes on with a storm and poison.
const ciSeed = 30194875

// ciSeedSeveral, with several instances on one database, begins with a kill of
// the database, a zombie, a kill of all services and a death with an outbox to
// publish.
const ciSeedSeveral = 9042

func databaseKind(s string) (string, error) {
	if s != "sqlite" && s != "postgres" {
		return "", errors.New("want sqlite or postgres")
	}
	return s, nil
}

// TestCrashMatrix is `make crash`, and a short one in CI: few rounds of a fixed
// seed on each broker.
func TestCrashMatrix(t *testing.T) {
	text := func(s string) (string, error) { return s, nil }
	kinds := setting(t, "BROKER", "both", text)
	seed, instances := uint64(ciSeed), 0
	postgres := setting(t, "DATABASE", "sqlite", databaseKind) == "postgres"
	if postgres {
		testpostgres.Require(t)
		seed, instances = ciSeedSeveral, setting(t, "INSTANCES", 2, strconv.Atoi)
	}
	cfg := crashtest.Config{
		Postgres: postgres, Instances: instances,
		Seed: setting(t, "SEED", seed, func(s string) (uint64, error) {
			if s == "random" {
				return rand.Uint64N(1_000_000), nil
			}
			return strconv.ParseUint(s, 10, 64)
		}),
		First: setting(t, "FIRST", 1, strconv.Atoi),
		Only:  setting(t, "FAULT", "", text),
		Away:  setting(t, "AWAY", 4*time.Second, time.ParseDuration),
	}
	var err error
	if cfg.Binary, err = testsystem.Build(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("seed %d\n%s\n", cfg.Seed, crashtest.Header())
	ran := false
	for _, kind := range []struct {
		name   string
		rounds int
		start  func(ctx context.Context, data, folder string) (testsystem.Broker, error)
	}{
		{"embedded", 6, func(ctx context.Context, data, folder string) (testsystem.Broker, error) {
			return testsystem.StartEmbedded(ctx, cfg.Binary, data, folder)
		}},
		{"kafka", 4, func(ctx context.Context, _, folder string) (testsystem.Broker, error) {
			return testkafka.New(ctx, filepath.Join(folder, "kafka"))
		}},
	} {
		if kinds != "both" && kinds != kind.name {
			continue
		}
		if kind.name == "kafka" {
			testkafka.Require(t)
		}
		ran = true
		cfg.Broker, cfg.StartBroker = kind.name, kind.start
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
		t.Fatalf("BROKER=%s: want embedded, kafka or both", kinds)
	}
}
