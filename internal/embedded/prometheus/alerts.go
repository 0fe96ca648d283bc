package prometheus

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/prometheus/rules"
)

// alertLog writes a line when an alert fires and one when it resolves, on the way
// to the Alertmanagers, which are told of it again and again.
type alertLog struct {
	log  *slog.Logger
	next rules.NotifyFunc

	mu     sync.Mutex
	firing map[string]bool // by the alert's labels
}

func newAlertLog(log *slog.Logger, next rules.NotifyFunc) *alertLog {
	return &alertLog{log: log, next: next, firing: map[string]bool{}}
}

// notify is a rules.NotifyFunc.
func (l *alertLog) notify(ctx context.Context, expr string, alerts ...*rules.Alert) {
	for _, a := range alerts {
		if l.changed(a) {
			l.write(ctx, a)
		}
	}
	l.next(ctx, expr, alerts...)
}

// changed says whether an alert has just begun or ended.
func (l *alertLog) changed(a *rules.Alert) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, fires := a.Labels.String(), a.ResolvedAt.IsZero()
	if l.firing[key] == fires {
		return false
	}
	if fires {
		l.firing[key] = true
	} else {
		delete(l.firing, key)
	}
	return true
}

// write logs an alert, as urgent as its severity.
func (l *alertLog) write(ctx context.Context, a *rules.Alert) {
	attributes := []any{
		"alert", a.Labels.Get("alertname"), "severity", a.Labels.Get("severity"),
		"summary", a.Annotations.Get("summary"), "runbook", a.Annotations.Get("runbook_url"),
	}
	switch {
	case !a.ResolvedAt.IsZero():
		l.log.InfoContext(ctx, "alert resolved", append(attributes, "after", a.ResolvedAt.Sub(a.FiredAt).Round(time.Second))...)
	case a.Labels.Get("severity") == "critical":
		l.log.ErrorContext(ctx, "alert firing", attributes...)
	default:
		l.log.WarnContext(ctx, "alert firing", attributes...)
	}
}
