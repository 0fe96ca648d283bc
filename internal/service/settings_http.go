package service

import (
	"errors"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// HTTP is what a service can be told about its clients. The zero value has
// every default: anybody may ask, without TLS.
type HTTP struct {
	// MaxConcurrent bounds the requests for the service's own routes at work at
	// once, and MaxConnections the connections of each address.
	MaxConcurrent  int
	MaxConnections int

	// TokensFile names a file with the tokens that let clients in to the
	// service's own routes; "" lets in everyone.
	TokensFile string

	// CertFile and KeyFile name a certificate and its key, PEM. With them the
	// service speaks TLS alone; without, none.
	CertFile string
	KeyFile  string

	// BodyTimeout and Timeouts bound the phases of a request; 0 is httpapi's.
	BodyTimeout time.Duration
	Timeouts    httpapi.ServerConfig
	// ReloadInterval is how often the files are looked at (default 2 s).
	ReloadInterval time.Duration
}

// defaultReload is how long a token that was taken out may still be good for.
const defaultReload = 2 * time.Second

// ErrBounds: a bound on requests or connections that lets nobody in.
var ErrBounds = errors.New("bound is not positive")

func (h HTTP) withDefaults() HTTP {
	if h.MaxConcurrent == 0 {
		h.MaxConcurrent = httpapi.DefaultMaxConcurrent
	}
	if h.MaxConnections == 0 {
		h.MaxConnections = httpapi.DefaultMaxConnections
	}
	if h.ReloadInterval <= 0 {
		h.ReloadInterval = defaultReload
	}
	return h
}

func (h HTTP) validate() error {
	switch {
	case h.MaxConcurrent < 1:
		return fmt.Errorf("%w: %d concurrent requests", ErrBounds, h.MaxConcurrent)
	case h.MaxConnections < 1:
		return fmt.Errorf("%w: %d connections", ErrBounds, h.MaxConnections)
	case (h.CertFile == "") != (h.KeyFile == ""):
		return fmt.Errorf("%w: want both the certificate and its key, or neither", httpapi.ErrCertificate)
	}
	return nil
}
