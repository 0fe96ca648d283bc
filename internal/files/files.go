// Package files reads the small files that an operator names in the settings:
// secrets, tokens, certificates.
package files

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

// Errors that a caller tells apart.
var (
	// ErrTooLarge: a file is larger than it may be.
	ErrTooLarge = errors.New("file is too large")
	// ErrNoCertificate: a file of authorities has none.
	ErrNoCertificate = errors.New("no certificate in it")
)

// Read returns what a file holds: at most so many bytes, or [ErrTooLarge].
func Read(path string, most int64) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's choice
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%w: at most %d bytes", ErrTooLarge, most)
	}
	return content, err
}

// Authorities returns the certificates of a PEM file, for holding others'
// against them. It answers [ErrNoCertificate] where the file has none.
func Authorities(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator's choice
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoCertificate)
	}
	return pool, nil
}
