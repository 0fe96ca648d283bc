package service

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// edge is what stands between a service and its clients.
type edge struct {
	tokens      *httpapi.Tokens      // nil: everyone is let in
	certificate *httpapi.Certificate // nil: no TLS
}

func (e edge) scheme() string {
	if e.certificate != nil {
		return "https://"
	}
	return "http://"
}

// open reads the tokens and the certificate, and keeps them up to date: before
// the service listens, so that nobody is let in without them.
func (s *Service) open(ctx context.Context, settings Settings) (err error) {
	b, cfg := s.base, settings.HTTP
	if cfg.TokensFile != "" {
		if s.edge.tokens, err = httpapi.OpenTokens(cfg.TokensFile); err != nil {
			return err
		}
		b.Stack.Go("tokens", func(ctx context.Context) error { return s.edge.tokens.Run(ctx, cfg.ReloadInterval, b.Log) })
	}
	if cfg.CertFile != "" {
		if s.edge.certificate, err = httpapi.OpenCertificate(cfg.CertFile, cfg.KeyFile); err != nil {
			return err
		}
		b.Stack.Go("certificate", func(ctx context.Context) error { return s.edge.certificate.Run(ctx, cfg.ReloadInterval, b.Log) })
	}
	if cfg.TokensFile != "" && cfg.CertFile == "" && leavesMachine(settings.Address) {
		b.Log.WarnContext(ctx, "clients' tokens cross the network readable: there is no certificate")
	}
	return nil
}

// leavesMachine says whether any of the addresses is other than loopback.
func leavesMachine(addresses string) bool {
	for address := range strings.SplitSeq(addresses, ",") {
		host, _, err := net.SplitHostPort(strings.TrimSpace(address))
		if err != nil || host == "localhost" {
			continue
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			return true
		}
	}
	return false
}
