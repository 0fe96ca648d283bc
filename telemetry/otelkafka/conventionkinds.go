package otelkafka

import (
	"unicode/utf8"

	"github.com/vigie-dev/vigie/telemetry"
)

// Bounds of error.type in metrics: its values, and their length in bytes. All else is _OTHER.
const (
	maxErrorKinds = 20
	maxErrorKind  = 128
)

// kind folds what is not among the first kinds of error.
func (c *conventions) kind(name string) string {
	c.mu.RLock()
	_, known := c.kinds[name]
	full := len(c.kinds) >= maxErrorKinds
	c.mu.RUnlock()
	if known {
		return name
	}
	if full || len(name) > maxErrorKind || !utf8.ValidString(name) {
		return telemetry.LabelOther
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kinds) >= maxErrorKinds {
		return telemetry.LabelOther
	}
	c.kinds[name] = struct{}{}
	return name
}

func otherKind(kind string) string {
	if kind == "" {
		return ""
	}
	return telemetry.LabelOther
}
