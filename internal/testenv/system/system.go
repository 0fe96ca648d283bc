//go:build unix

// Package system runs the whole system as it is deployed, each service and the
// broker a process of its own, so that tests can crash any of them. Only tests
// use it.
//
//   - system.go starts and stops the four services, with sentinelle beside them where
//     that is asked for, or `vigie up`, and puts a front before several instances of a service.
//   - program.go runs any subcommand that goes on until it is stopped, the
//     embedded broker among them.
//   - clock.go builds a vigie whose clock can be set.
package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/sentinelle"
	"github.com/vigie-dev/vigie/services/suivi"
)

// Names of the services that tests talk to.
const (
	Commande   = commande.Name
	Paiement   = paiement.Name
	Suivi      = suivi.Name
	Analyseur  = analyseur.Name
	Sentinelle = sentinelle.Name
)

// Services returns the names of all services that a System runs, commande first:
// those that the bank consists of.
func Services() []string { return services.All().Inside().Names() }

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
	// Watched has sentinelle follow the orders, in as many instances.
	Watched bool
	// Flags are given to every service that has them, as --name VALUE.
	Flags []string
	// Env are further settings of every service, NAME=value.
	Env []string
	// Prometheus is where the embedded one of `vigie up` answers, host:port; ""
	// for none.
	Prometheus string
	// Stderr receives what the services write there, beside the log files; may
	// be nil.
	Stderr io.Writer
}

// System is the services, a process for each instance. An instance keeps its
// address over restarts.
type System struct {
	names    []string // commande first, who looks on last
	services map[string][]*Service
	fronts   map[string]*front
}

// Service is one instance of one of the services.
type Service struct {
	*Program
	// URL is where it answers, http://host:port.
	URL string
}

// New prepares the services; none runs yet. [System.Close] has to follow.
func New(cfg Config) (*System, error) {
	env, err := cfg.environment()
	if err != nil {
		return nil, err
	}
	names := Services()
	if cfg.Watched {
		names = append(names, Sentinelle)
		env = append(env, "SENTINELLE_BANK=on")
	}
	addresses, err := proc.FreeAddresses(len(names) * max(1, cfg.Instances))
	if err != nil {
		return nil, err
	}
	s := &System{names: names, services: map[string][]*Service{}, fronts: map[string]*front{}}
	for _, name := range names {
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
	p := NewProgram(cfg.Binary, cfg.Logs, title, regexp.MustCompile(name+` answers at \S+`),
		name, "--data", cfg.Data, "--kafka-brokers", cfg.Brokers, "--"+name+"-addr", address, "--log-format", "json")
	p.env, p.stderr = env, cfg.Stderr
	return &Service{p, "http://" + address}
}

// NewUp prepares `vigie up`, all services in one process, which does not run
// yet, and returns where each service will listen, host:port.
func NewUp(cfg Config) (*Program, map[string]string, error) {
	env, err := cfg.environment()
	if err != nil {
		return nil, nil, err
	}
	all := services.All().Names()
	free, err := proc.FreeAddresses(len(all))
	if err != nil {
		return nil, nil, err
	}
	args := []string{"up", "--data", cfg.Data, "--kafka-brokers", cfg.Brokers, "--log-format", "json", "--prometheus-addr", cfg.Prometheus}
	addresses := map[string]string{}
	for i, name := range all {
		addresses[name] = free[i]
		args = append(args, "--"+name+"-addr", free[i])
	}
	p := NewProgram(cfg.Binary, cfg.Logs, "up", regexp.MustCompile(`Vigie is up`), args...)
	p.env, p.stderr = env, cfg.Stderr
	return p, addresses, nil
}

// Names are those of the services that there are, commande first.
func (s *System) Names() []string { return s.names }

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

// All returns every instance of every service.
func (s *System) All() []*Service { return slices.Concat(slices.Collect(maps.Values(s.services))...) }

// Start starts those instances that do not run, side by side.
func (s *System) Start(ctx context.Context) error {
	var group errgroup.Group
	for _, service := range s.All() {
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
	for _, names := range [][]string{s.names[:1], s.names[1:]} {
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
	for _, service := range s.All() {
		if p := service.Process(); p != nil && status == 0 {
			status = p.Status()
		}
	}
	return status, err
}

// Kill ends all services at once, as kill -9 does.
func (s *System) Kill() {
	var group errgroup.Group
	for _, service := range s.All() {
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

// environment has the flags as the variables that mean the same, which every
// service takes or ignores, and the other settings.
func (cfg Config) environment() ([]string, error) {
	env := slices.Clone(cfg.Env)
	for pair := range slices.Chunk(cfg.Flags, 2) {
		name, ok := strings.CutPrefix(pair[0], "--")
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("flags %v: want --name VALUE pairs", cfg.Flags)
		}
		env = append(env, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+pair[1])
	}
	if cfg.Database != "" {
		env = append(env, "DATABASE_URL="+cfg.Database)
	}
	return env, nil
}

// front is what stands before a service's instances: it gives each request to
// the next of them, and to another where that one does not listen. What becomes
// of a request that an instance has taken is the instance's answer, or none.
type front struct {
	instances []*url.URL
	next      atomic.Uint64
	transport *http.Transport
	server    *http.Server
	address   string
	done      chan struct{}
}

const headerTimeout = time.Minute

func newFront(instances []*Service) (*front, error) {
	f := &front{transport: &http.Transport{DisableKeepAlives: true}, done: make(chan struct{})}
	for _, s := range instances {
		u, err := url.Parse(s.URL)
		if err != nil {
			return nil, fmt.Errorf("read address of %s: %w", s.Name, err)
		}
		f.instances = append(f.instances, u)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback, at once
	if err != nil {
		return nil, fmt.Errorf("listen before %s: %w", instances[0].Name, err)
	}
	f.address = "http://" + listener.Addr().String()
	f.server = &http.Server{ReadHeaderTimeout: headerTimeout, Handler: &httputil.ReverseProxy{
		Transport: f, Rewrite: func(*httputil.ProxyRequest) {}, // RoundTrip chooses
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // no answer is none
	}}
	go func() {
		defer close(f.done)
		_ = f.server.Serve(listener) // it ends with close
	}()
	return f, nil
}

// RoundTrip implements http.RoundTripper.
func (f *front) RoundTrip(r *http.Request) (response *http.Response, err error) {
	first := f.next.Add(1)
	for i := range f.instances {
		u := f.instances[(first+uint64(i))%uint64(len(f.instances))]
		try := r.Clone(r.Context())
		try.URL.Scheme, try.URL.Host, try.Host = u.Scheme, u.Host, u.Host
		response, err = f.transport.RoundTrip(try)
		dial, ok := errors.AsType[*net.OpError](err)
		if err == nil || !ok || dial.Op != "dial" { // else nothing has been sent
			return response, err
		}
	}
	return nil, err
}

func (f *front) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if f.server.Shutdown(ctx) != nil {
		_ = f.server.Close()
	}
	<-f.done
	f.transport.CloseIdleConnections()
}
