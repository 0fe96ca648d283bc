package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	alertsName    = "alerts"
	alertsAddress = "127.0.0.1:3099"
)

func alertsCommand() *cli.Command {
	return &cli.Command{
		Name:  alertsName,
		Usage: "log the alerts that Alertmanager sends",
		Description: "Takes Alertmanager's webhook notifications at /alerts and logs each alert: a receiver that works\n" +
			"before any other is set up. monitoring/alertmanager.yml names it.",
		HideHelpCommand: true,
		Flags:           append([]cli.Flag{addrFlag(alertsName, alertsAddress), stopFlag()}, logFlags()...),
		Action:          alerts,
	}
}

func alerts(ctx context.Context, c *cli.Command) error {
	stack := &lifecycle.Stack{}
	address, err := startAlerts(ctx, c, stack)
	if err == nil {
		fmt.Fprintf(c.Root().Writer, "alerts are taken at http://%s/alerts (Ctrl-C stops it)\n", address)
		select {
		case err = <-stack.Failed():
		case <-ctx.Done():
		}
	}
	stopping, cancel := stopContext(ctx, c)
	defer cancel()
	return errors.Join(err, stack.Stop(stopping))
}

// startAlerts starts the server on a stack and returns where it listens.
func startAlerts(ctx context.Context, c *cli.Command, stack *lifecycle.Stack) (string, error) {
	t, err := telemetry.Setup(ctx, telemetry.Config{
		Service: alertsName, Version: programVersion(),
		LogWriter: c.Root().ErrWriter, LogFormat: logFormat(c), LogLevel: logLevel(c),
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", alertsName, err)
	}
	stack.OnStop("telemetry", t.Shutdown)
	listeners, err := httpapi.ListenAll(ctx, c.String(alertsName+flagAddr))
	if err != nil {
		return "", fmt.Errorf("%s: %w", alertsName, err)
	}
	server := httpapi.NewServer(newAlertSink(t.Logger()), t.Logger(), httpapi.ServerConfig{})
	stack.Go("http server", func(ctx context.Context) error { return server.Serve(ctx, listeners...) })
	stack.OnStop("http requests", server.Shutdown)
	return listeners[0].Addr().String(), nil
}

// Bounds of what a notification can make the sink hold or write.
const (
	maxNotification = 1 << 20 // bytes; Alertmanager's max_alerts keeps one far below
	maxAlertsLogged = 100
	maxAlertText    = 500 // bytes of one label or annotation
)

// notification is what is read of a webhook notification of Alertmanager,
// version 4. Fields may be added to that version; they are ignored.
// See https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
type notification struct {
	Version         string         `json:"version"`
	TruncatedAlerts uint64         `json:"truncatedAlerts"`
	Alerts          []alertMessage `json:"alerts"`
}

type alertMessage struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// alertSink logs what it is sent.
type alertSink struct {
	log *slog.Logger
}

// newAlertSink makes the handler of POST /alerts and GET /health.
func newAlertSink(log *slog.Logger) http.Handler {
	sink := &alertSink{log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /alerts", sink.take)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "service": alertsName})
	})
	// A page in somebody's browser must not write to the log.
	return http.NewCrossOriginProtection().Handler(mux)
}

// take logs a notification's alerts. A notification that cannot be read gets a
// 4xx status: Alertmanager repeats what failed with 5xx, in vain here.
func (s *alertSink) take(w http.ResponseWriter, r *http.Request) {
	var n notification
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxNotification)).Decode(&n)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		httpapi.WriteProblem(w, httpapi.Problem{
			Type:   httpapi.LargeBody,
			Detail: fmt.Sprintf("The notification is too large; at most %d bytes are accepted.", maxNotification),
		})
		return
	}
	if err != nil || n.Version != "4" {
		httpapi.WriteProblem(w, httpapi.Problem{
			Type: httpapi.InvalidRequest, Detail: "Want a webhook notification of Alertmanager, version 4.",
		})
		return
	}
	logged := n.Alerts[:min(len(n.Alerts), maxAlertsLogged)]
	for _, a := range logged {
		s.write(r.Context(), a)
	}
	if left := uint64(len(n.Alerts)-len(logged)) + n.TruncatedAlerts; left > 0 { //nolint:gosec // not negative
		s.log.WarnContext(r.Context(), "alerts left out", "count", left)
	}
	httpapi.WriteJSON(w, http.StatusOK, map[string]int{"logged": len(logged)})
}

// write logs one alert, as urgent as its severity.
func (s *alertSink) write(ctx context.Context, a alertMessage) {
	attributes := []any{
		"alert", bounded(a.Labels["alertname"]), "severity", bounded(a.Labels["severity"]), "status", bounded(a.Status),
		"summary", bounded(a.Annotations["summary"]), "runbook", bounded(a.Annotations["runbook_url"]),
		"dashboard", bounded(a.Annotations["dashboard_url"]),
	}
	switch {
	case a.Status == "resolved":
		s.log.InfoContext(ctx, "alert resolved", attributes...)
	case a.Labels["severity"] == "critical":
		s.log.ErrorContext(ctx, "alert firing", attributes...)
	default:
		s.log.WarnContext(ctx, "alert firing", attributes...)
	}
}

// bounded cuts a text at a character's boundary.
func bounded(text string) string {
	if len(text) <= maxAlertText {
		return text
	}
	end := maxAlertText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
