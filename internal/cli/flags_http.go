package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/files"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/services"
)

// Names of the flags that say where the services listen, whom they answer, and
// how many at once.
const (
	flagConcurrent  = "http-max-concurrent"
	flagConnections = "http-max-connections"
	flagHTTPCert    = "http-tls-cert-file"
	flagHTTPKey     = "http-tls-key-file"
	flagHTTPCA      = "http-tls-ca-file"
	flagHTTPName    = "http-tls-server-name"
	flagToken       = "token-file"
	flagAddr        = "-addr"        // behind a service's name
	flagTokens      = "-tokens-file" // likewise
)

// addrFlag says where a service listens, or where requests to it go.
func addrFlag(service, value string) cli.Flag {
	name := service + flagAddr
	return &cli.StringFlag{
		Name: name, Sources: env(name), Value: value, Category: "HTTP",
		Usage: "`HOST:PORT,…` where " + service + " listens", Validator: anAddress,
	}
}

// addrFlags is an [addrFlag] for each service.
func addrFlags(registry services.Registry) []cli.Flag {
	var flags []cli.Flag
	for _, s := range registry {
		flags = append(flags, addrFlag(s.Name, s.Address))
	}
	return flags
}

// httpFlags are those of every service, and the tokens of the services given.
func httpFlags(registry ...services.Service) []cli.Flag {
	const category = "HTTP"
	flags := []cli.Flag{
		&cli.IntFlag{
			Name: flagConcurrent, Sources: env(flagConcurrent), Value: httpapi.DefaultMaxConcurrent, Category: category,
			Usage: "how many requests a service works on at once; those beyond get 503. /health and /metrics do not count", Validator: positive,
		},
		&cli.IntFlag{
			Name: flagConnections, Sources: env(flagConnections), Value: httpapi.DefaultMaxConnections, Category: category,
			Usage: "how many connections each address takes at once; those beyond wait", Validator: positive,
		},
		&cli.StringFlag{
			Name: flagHTTPCert, Sources: env(flagHTTPCert), Category: category,
			Usage: "`FILE` (PEM) with the services' certificate: they then speak TLS alone; read again when it changes (default: no TLS)",
		},
		&cli.StringFlag{Name: flagHTTPKey, Sources: env(flagHTTPKey), Category: category, Usage: "`FILE` (PEM) with its key"},
	}
	for _, s := range registry {
		if s.Guards != "" {
			flags = append(flags, &cli.StringFlag{
				Name: s.Name + flagTokens, Sources: env(s.Name + flagTokens), Category: category,
				Usage: "`FILE` with the tokens, one a line, for " + s.Guards + "; read again when it changes (default: no token is needed)",
			})
		}
	}
	return flags
}

// httpClientFlags are those of commands that send requests to services.
func httpClientFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagHTTPCA, Sources: env(flagHTTPCA), Category: "HTTP",
			Usage: "`FILE` (PEM) with the authorities that signed the services' certificates: requests then use https (default: the system's, and http)",
		},
		&cli.StringFlag{
			Name: flagHTTPName, Sources: env(flagHTTPName), Category: "HTTP",
			Usage: "the name that the services' certificates are for (default: that in the address)",
		},
	}
}

// askerFlags are those of commands that read what services show to those who have
// a token.
func askerFlags() []cli.Flag {
	return append(httpClientFlags(), &cli.StringFlag{
		Name: flagToken, Sources: cli.EnvVars("VIGIE_TOKEN_FILE"), Category: "HTTP",
		Usage: "`FILE` with the token to show to the services that want one (default: none is shown)",
	})
}

// asker reads pages of services.
type asker struct {
	transport *http.Transport
	token     secret.Value
}

// newAsker is one by the flags of [askerFlags].
func newAsker(c *cli.Command) (a asker, err error) {
	if a.transport, err = clientTransport(c); err != nil {
		return a, err
	}
	if path := c.String(flagToken); path != "" {
		if a.token, err = secret.Read(path); err != nil {
			return a, misusef("--%s (VIGIE_TOKEN_FILE): %w", flagToken, err)
		}
	}
	return a, nil
}

// maxPage bounds what is read of one page.
const maxPage = 1 << 20

// get reads what is said to programs at an address, of bounded length.
func (a asker) get(ctx context.Context, address string, most int64) (status int, body []byte, err error) {
	return a.send(ctx, http.MethodGet, address, nil, most)
}

// send is get with another method, and a form where there is one.
func (a asker) send(ctx context.Context, method, address string, form url.Values, most int64) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Header.Set("Accept", "application/json")
	if a.token.Present() {
		request.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	}
	client := &http.Client{
		Transport:     a.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token goes nowhere else
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(response.Body, most))
	return response.StatusCode, body, err
}

// maxSentinelle bounds an answer of sentinelle: there may be many groups.
const maxSentinelle = 64 << 20

// askSentinelle asks the running sentinelle, or changes something by it. What its
// refusal means is for explain to say.
func askSentinelle(ctx context.Context, c *cli.Command, method, path string, form url.Values, into any, explain func(httpapi.Problem) error) error {
	running, missing := instance.Read(c.String(flagData))
	if missing == nil {
		adopt(c, running)
	}
	base := baseURL(c, flagPage)
	if base == "" {
		base = defaultSentinelle()
	}
	ask, err := newAsker(c)
	if err != nil {
		return err
	}
	defer ask.transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, c.Duration(flagTimeout))
	defer cancel()
	status, body, err := ask.send(ctx, method, base+path, form, maxSentinelle)
	var problem httpapi.Problem
	switch {
	case err != nil:
		err = fmt.Errorf("ask sentinelle: %w", err)
	case status == http.StatusOK:
		if err = json.Unmarshal(body, into); err != nil {
			err = fmt.Errorf("%s does not answer as sentinelle does: %w", base+path, err)
		}
	case json.Unmarshal(body, &problem) != nil || problem.Detail == "":
		err = fmt.Errorf("%s answers with status %d", base+path, status)
	default:
		return explain(problem)
	}
	if err != nil && missing != nil && !c.IsSet(flagPage) {
		err = fmt.Errorf("%w; %w", err, missing)
	}
	return err
}

// serviceURL is where requests to a service go: at the first of its addresses.
func serviceURL(c *cli.Command, s services.Service) string {
	if all := serviceURLs(c, s); len(all) > 0 {
		return all[0]
	}
	return ""
}

// serviceURLs are where a service answers: at the addresses that its flag has, which
// may be ones to listen on, such as 0.0.0.0.
func serviceURLs(c *cli.Command, s services.Service) (all []string) {
	scheme := "http://"
	if c.String(flagHTTPCA) != "" {
		scheme = "https://"
	}
	for one := range strings.SplitSeq(c.String(s.Name+flagAddr), ",") {
		one = strings.TrimSpace(one)
		host, port, err := net.SplitHostPort(one)
		if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
			one = net.JoinHostPort("127.0.0.1", port)
		}
		if one != "" {
			all = append(all, scheme+one)
		}
	}
	return all
}

// clientTransport is how requests to services are sent.
func clientTransport(c *cli.Command) (*http.Transport, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.String(flagHTTPName)},
	}
	if path := c.String(flagHTTPCA); path != "" {
		authorities, err := files.Authorities(path)
		if err != nil {
			return nil, misusef("--%s (%s): %w", flagHTTPCA, variable(flagHTTPCA), err)
		}
		transport.TLSClientConfig.RootCAs = authorities
	}
	return transport, nil
}
