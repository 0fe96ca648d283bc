//go:build unix

package servers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
)

// startTimeout bounds a start on a loaded machine; usual are seconds.
const startTimeout = 2 * time.Minute

// Server is a running server.
type Server struct {
	*process.Process
	// Address is where it answers, host:port.
	Address string
}

// URL is the address of a page of the server's, whose path begins with "/".
func (s *Server) URL(path string) string { return "http://" + s.Address + path }

// start starts a program and ends it with the test. ready is asked until it
// returns nil.
func start(t testing.TB, name, address string, ready func(context.Context) error, path string, args ...string) *Server {
	t.Helper()
	return launch(t, address, ready, process.Command{Name: name, Path: path, Args: args})
}

// launch is start with all that a command can have; its folder is the test's.
func launch(t testing.TB, address string, ready func(context.Context) error, command process.Command) *Server {
	t.Helper()
	command.Folder = t.TempDir()
	p, err := command.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of what %s wrote:\n%s", command.Name, tail([]byte(p.Output())))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := p.Await(ctx, ready); err != nil {
		t.Fatal(err)
	}
	return &Server{p, address}
}

// answers asks whether a page answers with 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		request.Close = true // no connection stays when the test ends
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		_, err = io.Copy(io.Discard, response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("GET %s: %s", url, response.Status)
		}
		return err
	}
}

// address is a free one.
func address(t testing.TB) string {
	t.Helper()
	free, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return free
}
