// Package prometheus is the Prometheus that Vigie brings along, so that what the
// services measure can be seen where there is Go and nothing else. It is
// Prometheus' own storage, scraper, rule engine, PromQL and HTTP API on the
// configuration and the rules that monitoring/ ships, and the only importer of
// them.
//
// prometheus.go is what others see of it, engine.go puts its parts together and
// starts them. What a program that carries Prometheus must see to besides stands
// around that: store.go sets aside what is damaged of its folder; config.go puts the
// targets that there are in the place of the shipped lists of files; rules.go leaves
// out the rules about parts that are not there, and writes what fires to the log;
// web.go answers, and bounds what an answer may cost.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/config"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// Name is the server's name in errors, logs and settings.
const Name = "prometheus"

// Config says what the server scrapes, where it keeps it, and where it answers.
type Config struct {
	// Address is host:port; port 0 picks a free one.
	Address string
	// Dir is the folder of what is stored.
	Dir string
	// Files have prometheus.yml and the rules that it names, as monitoring.Files.
	Files fs.FS
	// Metrics are the metrics that the services have, histograms without _bucket,
	// _sum and _count. Rules that need others are left out. nil: they are not
	// known, and rules are judged by the jobs that they name.
	Metrics []string
	// CertFile has the services' certificate (PEM) where they speak TLS, "" where
	// they do not. It is read again when it changes.
	CertFile string
	// Alertmanagers are sent the alerts, and are scraped: http or https URLs.
	Alertmanagers []string
	// Log is told of alerts, and of what goes wrong. nil: nobody.
	Log *slog.Logger
}

// Target is a service to be scraped.
type Target struct {
	Service string // the value of the label service
	URL     string // http or https, without a path
}

// Server is a running Prometheus.
type Server struct {
	cfg     Config
	stack   lifecycle.Stack
	address string // host:port, where it answers
	engine  *engine
	leftOut []string
	page    atomic.Pointer[string]

	scraping sync.Mutex // while targets change
	config   atomic.Pointer[config.Config]
}

// Start listens, opens what was stored, and begins to evaluate the rules. It
// scrapes itself and the Alertmanagers; [Server.Scrape] says what else. Of an
// address that cannot be had it returns [httpapi.ErrAddress], and of a folder
// that another process has [storage.ErrInUse].
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, errors.Join(err, s.stack.Stop(context.WithoutCancel(ctx))))
	}
	return s, nil
}

// Scrape has the services be scraped from now on, in place of those before.
func (s *Server) Scrape(targets []Target) error {
	s.scraping.Lock()
	defer s.scraping.Unlock()
	effective, err := s.effective(targets)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if err := s.engine.scrape(effective); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	s.config.Store(effective)
	return nil
}

// ShowPage has the server's own page lead to the one that shows the system.
func (s *Server) ShowPage(url string) { s.page.Store(&url) }

// Name is [Name].
func (s *Server) Name() string { return Name }

// URL is where the server answers.
func (s *Server) URL() string { return "http://" + s.address }

// LeftOut names the rules that are not evaluated, each with what it lacks: alerts
// before recordings. Where a rule is evaluated in part, it says so.
func (s *Server) LeftOut() []string { return slices.Clone(s.leftOut) }

// Failed reports a part that ended by itself: the server should be stopped.
func (s *Server) Failed() <-chan error { return s.stack.Failed() }

// Stop stops everything within ctx; what has been scraped is on disk then.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.stack.Stop(ctx); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return nil
}
