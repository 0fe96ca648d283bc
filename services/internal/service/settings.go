package service

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/vigie-dev/vigie/services/internal/fault"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Settings are what every service can be told. They come from flags or the
// environment; tests set them directly.
type Settings struct {
	// Version is the program's version, shown at GET / and on spans.
	Version string
	// Address is where to listen, host:port; port 0 picks a free one.
	Address string
	// Brokers are Kafka's bootstrap addresses.
	Brokers []string
	// DatabaseURL names the storage, sqlite:FOLDER.
	DatabaseURL string
	// KafkaPatience is how long a start waits for a broker to answer.
	KafkaPatience time.Duration

	// LogWriter, LogFormat, LogLevel and LogColor are telemetry.Config's.
	LogWriter io.Writer
	LogFormat string
	LogLevel  slog.Level

	// Fault kills the process at a named step; nil never does.
	Fault *fault.Injector

	// SpanProcessors receive the service's spans.
	SpanProcessors []sdktrace.SpanProcessor
}

const defaultPatience = 10 * time.Second

func (s Settings) withDefaults() Settings {
	if s.KafkaPatience <= 0 {
		s.KafkaPatience = defaultPatience
	}
	return s
}

func (s Settings) validate() error {
	if _, _, err := net.SplitHostPort(s.Address); err != nil {
		return fmt.Errorf("address %q is not host:port", s.Address)
	}
	if s.DatabaseURL == "" {
		return errors.New("no DATABASE_URL")
	}
	return nil
}
