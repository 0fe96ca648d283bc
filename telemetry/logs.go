package telemetry

import "log/slog"

// newLocalHandler writes lines as the configuration asks.
func newLocalHandler(config Config) slog.Handler {
	w := NewLineWriter(config.LogWriter)
	var handler slog.Handler
	if config.LogFormat == LogJSON {
		handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: config.LogLevel}).
			WithAttrs([]slog.Attr{slog.String(ServiceLabel, config.Service)})
	} else {
		handler = newTextHandler(w, config.Service, config.LogLevel, config.LogFormat == LogColored)
	}
	return &traceHandler{base: handler, next: handler}
}
