package cli

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/telemetry"
)

// Names of flags that more than one place reads.
const (
	flagSession     = "kafka-session-timeout"
	flagBrokerAddr  = "broker-addr"
	flagData        = "data"
	flagRetention   = "retention"
	flagLogFormat   = "log-format"
	flagLogLevel    = "log-level"
	flagPprof       = "pprof-addr"
	flagRejectRate  = "paiement-reject-rate"
	flagErrorRate   = "paiement-error-rate"
	flagLatency     = "paiement-latency"
	flagSeed        = "paiement-seed"
	flagAckTimeout  = "commande-ack-timeout"
	defaultBroker   = "127.0.0.1:9092"
	defaultDataName = "./data"
)

// env derives a flag's environment variable from its name.
func env(flag string) cli.ValueSourceChain { return cli.EnvVars(variable(flag)) }

func variable(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

func brokerAddrFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagBrokerAddr, Sources: env(flagBrokerAddr), Value: defaultBroker, Category: "Kafka",
		Usage: "`HOST:PORT` where the embedded broker listens",
	}
}

func sessionFlag() cli.Flag {
	return &cli.DurationFlag{
		Name: flagSession, Sources: env(flagSession), Value: kafka.DefaultSessionTimeout, Category: "Kafka",
		Usage: "how long a consumer may be silent before Kafka gives its partitions away; brokers usually take 6s to 30m",
	}
}

func dataFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagData, Sources: cli.EnvVars("VIGIE_DATA"), Value: defaultDataName, Category: "Storage",
		Usage: "`FOLDER` for the embedded broker's log and the services' state",
	}
}

func retentionFlag() cli.Flag {
	return &cli.DurationFlag{
		Name: flagRetention, Sources: env(flagRetention), Value: 90 * 24 * time.Hour, Category: "Storage",
		Usage: "how long decided orders are kept, at least the dead letters' 720h",
	}
}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagLogFormat, Sources: env(flagLogFormat), Value: logFormatAuto, Category: "Logs",
			Usage: "auto, text (coloured on a terminal) or json", Validator: oneOf(logFormatAuto, telemetry.LogText, telemetry.LogJSON),
		},
		&cli.StringFlag{
			Name: flagLogLevel, Sources: env(flagLogLevel), Value: "info", Category: "Logs",
			Usage: "debug, info, warn or error", Validator: oneOf("debug", "info", "warn", "error"),
		},
	}
}

func pprofFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagPprof, Sources: cli.EnvVars("VIGIE_PPROF_ADDR"), Category: "Profiling",
		Usage: "loopback `HOST:PORT` that serves this process's profiles under /debug/pprof (default: none)",
	}
}

func addrFlag(service, value string) cli.Flag {
	name := service + "-addr"
	return &cli.StringFlag{
		Name: name, Sources: env(name), Value: value, Category: "HTTP",
		Usage: "`HOST:PORT,…` where " + service + " listens",
	}
}

func commandeFlags() []cli.Flag {
	return []cli.Flag{&cli.DurationFlag{
		Name: flagAckTimeout, Sources: env(flagAckTimeout), Value: 5 * time.Second, Category: "commande",
		Usage: "how long an order waits for Kafka's acknowledgement before it is answered with 503",
	}}
}

func paiementFlags() []cli.Flag {
	return []cli.Flag{
		&cli.FloatFlag{
			Name: flagRejectRate, Sources: env(flagRejectRate), Value: 0.2, Category: "paiement",
			Usage: "share of payments that the simulated authoriser rejects, 0 to 1",
		},
		&cli.FloatFlag{
			Name: flagErrorRate, Sources: env(flagErrorRate), Value: 0, Category: "paiement",
			Usage: "share of calls in which the simulated authoriser fails, 0 to 1",
		},
		&cli.DurationFlag{
			Name: flagLatency, Sources: env(flagLatency), Value: 20 * time.Millisecond, Category: "paiement",
			Usage: "how long the simulated authoriser takes",
		},
		&cli.Uint64Flag{
			Name: flagSeed, Sources: env(flagSeed), Value: 1, Category: "paiement",
			Usage: "the simulated authoriser's decision on an order follows from this number and the order's id",
		},
	}
}

// serviceFlags are those of a command that runs one service.
func serviceFlags(name, address string, own ...cli.Flag) []cli.Flag {
	return slices.Concat(kafkaFlags(defaultBroker), []cli.Flag{
		dataFlag(), databaseFlag(), databaseFileFlag(), databaseConnectionsFlag(), retentionFlag(), addrFlag(name, address), pprofFlag(),
	}, httpFlags(name), logFlags(), own)
}

// settings reads what a service needs from a command's flags.
func settings(c *cli.Command, name string, brokers []string) (service.Settings, error) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.String(flagLogLevel)))            // validated with the flag
	injector, err := fault.Parse(os.Getenv("VIGIE_FAULT"), fault.Kill) // for tests of crashes, hence no flag
	if err != nil {
		return service.Settings{}, err
	}
	security, err := kafkaSecurity(c)
	if err != nil {
		return service.Settings{}, err
	}
	database, err := databaseURL(c)
	if err != nil {
		return service.Settings{}, err
	}
	edge, err := httpSettings(c, name)
	if err != nil {
		return service.Settings{}, err
	}
	return service.Settings{
		HTTP: edge, KafkaSecurity: security, Version: version(), Address: c.String(name + "-addr"), Brokers: brokers,
		DatabaseURL: database, DatabaseConnections: c.Int(flagDatabaseConnections),
		KafkaPatience: c.Duration(flagPatience), KafkaSession: c.Duration(flagSession), Retention: c.Duration(flagRetention),
		LogWriter: c.Root().ErrWriter, LogFormat: logFormat(c), LogLevel: level, Fault: injector,
	}, nil
}

func paiementConfig(c *cli.Command) paiement.Config {
	return paiement.Config{Simulation: paiement.Simulation{
		RejectRate: c.Float(flagRejectRate), ErrorRate: c.Float(flagErrorRate),
		Latency: c.Duration(flagLatency), Seed: c.Uint64(flagSeed),
	}}
}

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("want one of %s", strings.Join(values, ", "))
		}
		return nil
	}
}
