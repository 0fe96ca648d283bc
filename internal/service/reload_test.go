package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/secret"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// A token's file that somebody breaks is told until it is right again, and the token stays.
func TestAFileThatCannotBeReadAgainIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := telemetrytest.New(t, "shop", Common())
		b := &Base{Stack: &lifecycle.Stack{}, Telemetry: r.Telemetry, Log: r.Logger()}
		var err error
		if b.reloads, err = newReloads(r.Instruments()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "token")
		put := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("first\n")
		token, err := b.OpenToken("the token", secret.Value{}, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			text, token string
			failed      float64
		}{{"first\n", "first", 0}, {"two words\n", "first", 1}, {"second\n", "second", 0}} {
			put(tt.text)
			<-time.After(3 * reloadInterval) // a change is believed at the second look
			synctest.Wait()
			if got := r.Metric(reloadFailedMetric, map[string]string{"file": "the token"}); got != tt.failed || !token().Is(tt.token) {
				t.Errorf("after %q: %v, and the token is %q: %v", tt.text, got, tt.token, token().Is(tt.token))
			}
		}
		if logged := fmt.Sprint(r.Logs()); !strings.Contains(logged, "cannot be used") {
			t.Errorf("logged %s", logged)
		}
		if err := b.Stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestTheEndOfACertificateIsMeasured(t *testing.T) {
	r := telemetrytest.New(t, "shop", Common())
	pair := testcerts.New(t, "authority").Sign(t, "shop")
	certificate, err := httpapi.OpenCertificate(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	b := &Base{Telemetry: r.Telemetry}
	if err := b.measureExpiry(certificate); err != nil {
		t.Fatal(err)
	}
	left := time.Until(time.Unix(int64(r.Metric(expiryMetric, nil)), 0))
	if left <= 0 || left > 366*24*time.Hour {
		t.Errorf("it is valid for %v", left)
	}
}
