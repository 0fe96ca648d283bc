//go:build unix

package system

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
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
	Data    string // the services' storage, where Database names no other
	Logs    string // folder for log files
	// Database is a DATABASE_URL, or "".
	Database string
	// Instances is how many of each service run; 0 is one. Several need a
	// Database that they can share.
	Instances int
	// Flags are given to every service that has them, as --name VALUE.
	Flags []string
	// Stderr receives what the services write there, beside the log files; may
	// be nil.
	Stderr io.Writer
}

// System is the four services, a process for each instance. An instance keeps
// its address over restarts.
type System struct {
	services map[string][]*Service
	fronts   map[string]*front
}

// Service is one instance of one of the services.
type Service struct {
	Program
	// URL is where it answers, http://host:port.
	URL string
}

// New prepares the services; none runs yet. [System.Close] has to follow.
func New(cfg Config) (*System, error) {
	env, err := environment(cfg.Flags)
	if err != nil {
		return nil, err
	}
	if cfg.Database != "" {
		env = append(env, "DATABASE_URL="+cfg.Database)
	}
	addresses, err := testproc.FreeAddresses(len(Services()) * max(1, cfg.Instances))
	if err != nil {
		return nil, err
	}
	s := &System{services: map[string][]*Service{}, fronts: map[string]*front{}}
	for _, name := range Services() {
		for n := range max(1, cfg.Instances) {
			s.services[name] = append(s.services[name], newService(cfg, env, addresses[0], name, n))
			addresses = addresses[1:]
		}
		if cfg.Instances < 2 {
			continue
		}
		if s.fronts[name], err = newFront(s.services[name]); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func newService(cfg Config, env []string, address, name string, n int) *Service {
	title := name
	if n > 0 {
		title = fmt.Sprintf("%s-%d", name, n+1)
	}
	return &Service{URL: "http://" + address, Program: Program{
		Name: title, binary: cfg.Binary, env: env, log: logFile(cfg.Logs, title), stderr: cfg.Stderr,
		args: []string{name, "--data", cfg.Data, "--kafka-brokers", cfg.Brokers, "--" + name + "-addr", address, "--log-format", "json"},
		up:   regexp.MustCompile(name + ` answers at \S+`),
	}}
}

// Service returns the first instance of a service, by the service's name.
func (s *System) Service(name string) *Service { return s.services[name][0] }

// Instances returns all of a service.
func (s *System) Instances(name string) []*Service { return s.services[name] }

// URL is where a service answers, whichever of its instances does.
func (s *System) URL(name string) string {
	if f := s.fronts[name]; f != nil {
		return f.address
	}
	return s.Service(name).URL
}

// all returns every instance of every service.
func (s *System) all() []*Service { return slices.Concat(slices.Collect(maps.Values(s.services))...) }

// Start starts those instances that do not run, side by side.
func (s *System) Start(ctx context.Context) error {
	var group errgroup.Group
	for _, service := range s.all() {
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
			for _, service := range s.services[name] {
				if service.Running() {
					group.Go(func() error { return service.Process().Stop(ctx) })
				}
			}
		}
		if stopped := group.Wait(); stopped != nil && err == nil {
			err = stopped
		}
	}
	for _, service := range s.all() {
		if p := service.Process(); p != nil && status == 0 {
			status = p.Status()
		}
	}
	return status, err
}

// Kill ends all services at once, as kill -9 does.
func (s *System) Kill() {
	var group errgroup.Group
	for _, service := range s.all() {
		group.Go(func() error { service.Kill(); return nil })
	}
	_ = group.Wait()
}

// Close ends what is left, and nothing answers at the services' addresses any
// more.
func (s *System) Close() {
	s.Kill()
	for _, f := range s.fronts {
		f.close()
	}
	clear(s.fronts)
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
