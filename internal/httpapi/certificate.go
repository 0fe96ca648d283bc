package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vigie-dev/vigie/internal/files"
)

// ErrCertificate: a certificate and its key cannot be used.
var ErrCertificate = errors.New("certificate")

// Certificate is what a server shows its clients.
type Certificate struct {
	parsed *files.Parsed[*tls.Certificate]
}

// OpenCertificate reads a certificate, with those between it and its authority
// behind it, and its key: two PEM files.
func OpenCertificate(certFile, keyFile string) (*Certificate, error) {
	parsed, err := files.Open(func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
		}
		return &pair, nil
	}, certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return &Certificate{parsed}, nil
}

// Run reads the files again when they change, until ctx ends. New connections
// get the new certificate. While the two files do not fit, the old one stays.
func (c *Certificate) Run(ctx context.Context, every time.Duration, log *slog.Logger) error {
	return c.parsed.Run(ctx, every, log)
}

// config is the server's side of TLS: version 1.2 at least, as RFC 9325 asks.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.parsed.Get(), nil },
	}
}
