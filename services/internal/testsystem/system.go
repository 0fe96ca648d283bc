//go:build unix

package testsystem

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/services/internal/testproc"
)

// Names of the services that a System runs.
const (
	Commande  = "commande"
	Paiement  = "paiement"
	Suivi     = "suivi"
	Analyseur = "analyseur"
)

// Services returns the names, commande first.
func Services() []string { return []string{Commande, Paiement, Suivi, Analyseur} }

// Config says what to run.
type Config struct {
	Binary  string
	Brokers string
	Data    string // the services' storage
	Logs    string // folder for log files
	// Flags are given to every service that has them, as --name VALUE.
	Flags []string
	// Stderr receives what the services write there, beside the log files; may
	// be nil.
	Stderr io.Writer
}

// System is the four services, a process each. A service keeps its address
// over restarts.
type System struct {
	services map[string]*Service
}

// Service is one of the services.
type Service struct {
	Program
	// URL is where it answers, http://host:port.
	URL string
}

// New prepares the services; none runs yet.
func New(cfg Config) (*System, error) {
	env, err := environment(cfg.Flags)
	if err != nil {
		return nil, err
	}
	s := &System{services: map[string]*Service{}}
	for _, name := range Services() {
		address, err := testproc.FreeAddress()
		if err != nil {
			return nil, err
		}
		s.services[name] = &Service{URL: "http://" + address, Program: Program{
			Name: name, binary: cfg.Binary, env: env, log: logFile(cfg.Logs, name), stderr: cfg.Stderr,
			args: []string{name, "--data", cfg.Data, "--kafka-brokers", cfg.Brokers, "--" + name + "-addr", address, "--log-format", "json"},
			up:   regexp.MustCompile(name + ` answers at \S+`),
		}}
	}
	return s, nil
}

// Service returns a service by its name.
func (s *System) Service(name string) *Service { return s.services[name] }

// Start starts those services that do not run, side by side.
func (s *System) Start(ctx context.Context) error {
	var group errgroup.Group
	for _, service := range s.services {
		if !service.Running() {
			group.Go(func() error { return service.Start(ctx) })
		}
	}
	return group.Wait()
}

// Stop stops the services as an operator would, commande first, and returns
// the first exit status that is not 0. A service that does not stop by ctx's
// end is killed, which is an error.
func (s *System) Stop(ctx context.Context) (status int, err error) {
	for _, names := range [][]string{Services()[:1], Services()[1:]} {
		var group errgroup.Group
		for _, name := range names {
			if s.services[name].Running() {
				group.Go(func() error { return s.services[name].Process().Stop(ctx) })
			}
		}
		if stopped := group.Wait(); stopped != nil && err == nil {
			err = stopped
		}
	}
	for _, name := range Services() {
		if p := s.services[name].Process(); p != nil && status == 0 {
			status = p.Status()
		}
	}
	return status, err
}

// Kill ends all services at once, as kill -9 does.
func (s *System) Kill() {
	var group errgroup.Group
	for _, service := range s.services {
		group.Go(func() error { service.Kill(); return nil })
	}
	_ = group.Wait()
}

// environment turns flags into the variables that mean the same, which every
// service takes or ignores.
func environment(flags []string) ([]string, error) {
	var env []string
	for pair := range slices.Chunk(flags, 2) {
		name, ok := strings.CutPrefix(pair[0], "--")
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("flags %v: want --name VALUE pairs", flags)
		}
		env = append(env, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+pair[1])
	}
	return env, nil
}
