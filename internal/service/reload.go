package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/files"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/telemetry"
)

// reloadInterval is how long a token that was taken out may still be good for.
const reloadInterval = 2 * time.Second

// reloads are the files that a service reads again, by what they are for.
type reloads struct {
	mu     sync.Mutex
	failed map[string]func() bool
}

// newReloads registers their metric, before there are any.
func newReloads(instruments *telemetry.Instruments) (*reloads, error) {
	r := &reloads{failed: map[string]func() bool{}}
	_, err := instruments.Int64ObservableGauge(reloadFailedMetric, func(_ context.Context, o metric.Int64Observer) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for name, failed := range r.failed {
			o.Observe(oneIf(failed()), metric.WithAttributes(attribute.String("file", name)))
		}
		return nil
	})
	return r, err
}

// reloaded is a file, or some that belong together.
type reloaded interface {
	Run(ctx context.Context, every time.Duration, log *slog.Logger) error
	Failed() bool
}

// keepReading reads files again when they change, as long as the service runs.
func (b *Base) keepReading(name string, f reloaded) {
	b.reloads.mu.Lock()
	defer b.reloads.mu.Unlock()
	b.reloads.failed[name] = f.Failed
	b.Stack.Go(name, func(ctx context.Context) error { return f.Run(ctx, reloadInterval, b.Log) })
}

// measureExpiry shows when a certificate ends to be valid.
func (b *Base) measureExpiry(c *httpapi.Certificate) error {
	_, err := b.Telemetry.Instruments().Float64ObservableGauge(expiryMetric, func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(float64(c.Expiry().Unix()))
		return nil
	})
	return err
}

// OpenToken returns a token that the service shows to others or wants from them: the one in
// a file, which is read again when it changes, and without a file the one that is given,
// which may be none. The name says in errors what it is for.
func (b *Base) OpenToken(name string, given secret.Value, path string) (func() secret.Value, error) {
	if path == "" {
		return func() secret.Value { return given }, nil
	}
	parsed, err := files.Open(parseToken, path)
	return b.readToken(name, parsed, err)
}

// MakeToken is [Base.OpenToken], and makes the file with a new token where it is not there.
func (b *Base) MakeToken(name string, given secret.Value, path string) (func() secret.Value, error) {
	if path != "" {
		made, err := files.Make(path, []byte(rand.Text()+"\n"))
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		if made {
			b.Log.Info("a token was made", "token", name, "file", path)
		}
	}
	return b.OpenToken(name, given, path)
}

// AwaitToken is [Base.OpenToken] for a file that may not be there yet, since another service
// makes it: until it is, there is no token.
func (b *Base) AwaitToken(name string, given secret.Value, path string) (func() secret.Value, error) {
	if path == "" {
		return b.OpenToken(name, given, path)
	}
	parsed, err := files.Await(parseToken, path)
	if err == nil && !parsed.Get().Present() {
		b.Log.Warn("a token is waited for", "token", name, "file", path)
	}
	return b.readToken(name, parsed, err)
}

func parseToken(contents [][]byte) (secret.Value, error) {
	token := strings.TrimSpace(string(contents[0]))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return secret.Value{}, errors.New("want one token")
	}
	return secret.Of(token), nil
}

// readToken keeps a token's file being read.
func (b *Base) readToken(name string, parsed *files.Parsed[secret.Value], err error) (func() secret.Value, error) {
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	b.keepReading(name, parsed)
	return parsed.Get, nil
}
