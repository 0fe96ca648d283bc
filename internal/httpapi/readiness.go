package httpapi

import (
	"context"
	"fmt"
	"time"
)

const (
	checkTimeout = 2 * time.Second
	retrySoon    = time.Second
)

// Readiness says whether a service can do its work, by asking what it stands
// on. Its parts are added before the server starts.
type Readiness struct {
	parts []part
}

type part struct {
	name  string
	check func(context.Context) error
}

// Add appends a part. Its check must return soon and not wait for long-lived
// locks; its error is shown to clients.
func (r *Readiness) Add(name string, check func(context.Context) error) {
	r.parts = append(r.parts, part{name, check})
}

// Check asks each part and returns the first reason not to be ready.
func (r *Readiness) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, p := range r.parts {
		if err := p.check(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
