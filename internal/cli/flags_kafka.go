package cli

import (
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/service"
)

// Names of the flags that say how to reach Kafka.
const (
	flagBrokers       = "kafka-brokers"
	flagPatience      = "kafka-patience"
	flagTLS           = "kafka-tls"
	flagTLSCA         = "kafka-tls-ca-file"
	flagTLSCert       = "kafka-tls-cert-file"
	flagTLSKey        = "kafka-tls-key-file"
	flagSASLMechanism = "kafka-sasl-mechanism"
	flagSASLUser      = "kafka-sasl-user"
	flagSASLPassword  = "kafka-sasl-password" //nolint:gosec // a name
	flagSession       = "kafka-session-timeout"
	flagBrokerAddr    = "broker-addr"

	defaultBroker = "127.0.0.1:9092"
)

// kafkaFlags say where Kafka is and how to authenticate; otherwise is what an
// empty list of brokers means.
func kafkaFlags(otherwise string) []cli.Flag {
	const category, secured = "Kafka", "Kafka, secured"
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagBrokers, Sources: env(flagBrokers), Category: category,
			Usage: "Kafka's bootstrap addresses, `HOST:PORT,…` (default: " + otherwise + ")", Validator: anAddress,
		},
		&duration.Flag{
			Name: flagPatience, Sources: env(flagPatience), Value: service.DefaultPatience, Category: category,
			Usage: "how long each step of a start waits for brokers that are away",
		},
		&cli.BoolFlag{Name: flagTLS, Sources: env(flagTLS), Category: secured, Usage: "encrypt connections to the brokers, and check their certificates"},
		&cli.StringFlag{
			Name: flagTLSCA, Sources: env(flagTLSCA), Category: secured,
			Usage: "`FILE` (PEM) with the authorities that signed the brokers' certificates (default: the system's)",
		},
		&cli.StringFlag{
			Name: flagTLSCert, Sources: env(flagTLSCert), Category: secured,
			Usage: "`FILE` (PEM) with our own certificate, for brokers that require one; read again for each connection",
		},
		&cli.StringFlag{Name: flagTLSKey, Sources: env(flagTLSKey), Category: secured, Usage: "`FILE` (PEM) with its key"},
		&cli.StringFlag{
			Name: flagSASLMechanism, Sources: env(flagSASLMechanism), Category: secured,
			Usage: "how to authenticate: " + strings.Join(kafka.Mechanisms(), ", ") + " (default: not at all)",
		},
		&cli.StringFlag{Name: flagSASLUser, Sources: env(flagSASLUser), Category: secured, Usage: "the user to authenticate as"},
		&cli.StringFlag{
			Name: flagSASLPassword, Sources: env(flagSASLPassword), Category: secured, HideDefault: true,
			Usage: "the password; better in a file, since others may see a process's arguments",
		},
		&cli.StringFlag{
			Name: flagSASLPassword + flagFileSuffix, Sources: env(flagSASLPassword + flagFileSuffix), Category: secured,
			Usage: "`FILE` with the password",
		},
	}
}

// kafkaConfig reads how to reach Kafka. client names the program to the
// brokers; where the flags name none, they are those given.
func kafkaConfig(c *cli.Command, client string, otherwise ...string) (kafka.Config, error) {
	cfg := kafka.Config{Brokers: brokers(c), ClientID: client, Patience: c.Duration(flagPatience)}
	if len(cfg.Brokers) == 0 {
		cfg.Brokers = otherwise
	}
	var err error
	cfg.Security, err = kafkaSecurity(c)
	return cfg, err
}

func kafkaSecurity(c *cli.Command) (kafka.Security, error) {
	password, err := secretOf(c, flagSASLPassword)
	if err != nil {
		return kafka.Security{}, err
	}
	s := kafka.Security{
		TLS: c.Bool(flagTLS), CAFile: c.String(flagTLSCA), CertFile: c.String(flagTLSCert), KeyFile: c.String(flagTLSKey),
		Mechanism: strings.ToUpper(c.String(flagSASLMechanism)), User: c.String(flagSASLUser), Password: password,
	}
	return s, asMisuse(s.Validate())
}

// brokers reads the list of addresses; "" means that it was not given.
func brokers(c *cli.Command) []string {
	var out []string
	for b := range strings.SplitSeq(c.String(flagBrokers), ",") {
		if b = strings.TrimSpace(b); b != "" {
			out = append(out, b)
		}
	}
	return out
}

func brokerAddrFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagBrokerAddr, Sources: env(flagBrokerAddr), Value: defaultBroker, Category: "Kafka",
		Usage: "`HOST:PORT` where the embedded broker listens", Validator: anAddress,
	}
}

func sessionFlag() cli.Flag {
	return &duration.Flag{
		Name: flagSession, Sources: env(flagSession), Value: kafka.DefaultSessionTimeout, Category: "Kafka",
		Usage: "how long a consumer may be silent before Kafka gives its partitions away; brokers usually take 6s to 30m",
	}
}
