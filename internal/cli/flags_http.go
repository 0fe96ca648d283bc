package cli

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/files"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/suivi"
)

// Names of the flags that say whom the services answer, and how many at once.
const (
	flagConcurrent  = "http-max-concurrent"
	flagConnections = "http-max-connections"
	flagHTTPCert    = "http-tls-cert-file"
	flagHTTPKey     = "http-tls-key-file"
	flagHTTPCA      = "http-tls-ca-file"
	flagHTTPName    = "http-tls-server-name"
	flagTokens      = "-tokens-file" // behind a service's name
)

// httpFlags are those of every service, and the tokens of the services named.
func httpFlags(services ...string) []cli.Flag {
	const category = "HTTP"
	flags := []cli.Flag{
		&cli.IntFlag{
			Name: flagConcurrent, Sources: env(flagConcurrent), Value: httpapi.DefaultMaxConcurrent, Category: category,
			Usage: "how many requests a service works on at once; those beyond get 503. /health and /metrics do not count",
		},
		&cli.IntFlag{
			Name: flagConnections, Sources: env(flagConnections), Value: httpapi.DefaultMaxConnections, Category: category,
			Usage: "how many connections each address takes at once; those beyond wait",
		},
		&cli.StringFlag{
			Name: flagHTTPCert, Sources: env(flagHTTPCert), Category: category,
			Usage: "`FILE` (PEM) with the services' certificate: they then speak TLS alone; read again when it changes (default: no TLS)",
		},
		&cli.StringFlag{Name: flagHTTPKey, Sources: env(flagHTTPKey), Category: category, Usage: "`FILE` (PEM) with its key"},
	}
	for _, name := range services {
		if what := guarded(name); what != "" {
			flags = append(flags, &cli.StringFlag{
				Name: name + flagTokens, Sources: env(name + flagTokens), Category: category,
				Usage: "`FILE` with the tokens, one a line, that " + what + " asks for; read again when it changes (default: everyone is let in)",
			})
		}
	}
	return flags
}

// guarded is what a service's tokens guard, "" where it has nothing to guard.
func guarded(name string) string {
	switch name {
	case commande.Name:
		return "POST /orders"
	case suivi.Name:
		return "GET /orders"
	case analyseur.Name:
		return "GET /statistics"
	default:
		return ""
	}
}

func httpSettings(c *cli.Command, name string) (service.HTTP, error) {
	h := service.HTTP{
		MaxConcurrent: c.Int(flagConcurrent), MaxConnections: c.Int(flagConnections), CertFile: c.String(flagHTTPCert), KeyFile: c.String(flagHTTPKey),
	}
	if guarded(name) != "" {
		h.TokensFile = c.String(name + flagTokens)
	}
	if h.MaxConcurrent < 1 || h.MaxConnections < 1 { // 0 would be the default
		return h, service.ErrBounds
	}
	return h, nil
}

// whatClientsNeed is a line about what the examples leave out, "" where that is
// nothing.
func whatClientsNeed(c *cli.Command) string {
	var needs []string
	if c.String(flagHTTPCert) != "" {
		needs = append(needs, "--cacert FILE")
	}
	if c.String(commande.Name+flagTokens)+c.String(suivi.Name+flagTokens)+c.String(analyseur.Name+flagTokens) != "" {
		needs = append(needs, "-H 'Authorization: Bearer TOKEN'")
	}
	if len(needs) == 0 {
		return ""
	}
	return "Clients need " + strings.Join(needs, " and ") + ", as docs/http.md says.\n"
}

// httpClientFlags are those of commands that ask services.
func httpClientFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagHTTPCA, Sources: env(flagHTTPCA), Category: "HTTP",
			Usage: "`FILE` (PEM) with the authorities that signed the services' certificates: addresses are then asked by https (default: the system's, and http)",
		},
		&cli.StringFlag{
			Name: flagHTTPName, Sources: env(flagHTTPName), Category: "HTTP",
			Usage: "the name that the services' certificates are for (default: that in the address)",
		},
	}
}

// clientScheme is how addresses without one are asked.
func clientScheme(c *cli.Command) string {
	if c.String(flagHTTPCA) != "" {
		return "https://"
	}
	return "http://"
}

// clientTransport is how services are asked.
func clientTransport(c *cli.Command) (*http.Transport, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.String(flagHTTPName)},
	}
	if path := c.String(flagHTTPCA); path != "" {
		authorities, err := files.Authorities(path)
		if err != nil {
			return nil, fmt.Errorf("--%s (%s): %w", flagHTTPCA, variable(flagHTTPCA), err)
		}
		transport.TLSClientConfig.RootCAs = authorities
	}
	return transport, nil
}
