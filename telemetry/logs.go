package telemetry

import (
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
)

// newLocalHandler writes lines as the configuration asks.
func newLocalHandler(config Config) slog.Handler {
	w := NewLineWriter(config.LogWriter)
	var handler slog.Handler
	if config.LogFormat == LogJSON {
		handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: config.LogLevel}).
			WithAttrs([]slog.Attr{slog.String(ServiceLabel, config.Service)})
	} else {
		handler = newTextHandler(w, config.Service, config.LogLevel, coloured(config.LogColor, w))
	}
	return &traceHandler{base: handler, next: handler}
}

// coloured decides on colours. See https://no-color.org for NO_COLOR.
func coloured(mode ColorMode, w *LineWriter) bool {
	switch mode {
	case ColorAlways:
		return true
	case ColorNever:
		return false
	default:
		return os.Getenv("NO_COLOR") == "" && isTerminal(w.Unwrap())
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(interface{ Fd() uintptr })
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}
