//go:build unix

package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

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

const headerTimeout = 10 * time.Second

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
