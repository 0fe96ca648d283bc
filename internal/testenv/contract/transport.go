package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// Transport checks every answer that passes through it and comes from a service
// whose document it was given. An answer that does not fit is an error of the
// request, so it fails the test that sent it.
type Transport struct {
	// Base does the asking.
	Base http.RoundTripper

	mu        sync.Mutex
	documents map[string]*Document // by host and port
	checked   map[string]int       // by operation and status
}

// Expect has the answers of a service, by its URL, checked against a document;
// nil ends that.
func (t *Transport) Expect(service string, d *Document) error {
	at, err := url.Parse(service)
	if err != nil {
		return fmt.Errorf("URL of a service: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.documents == nil {
		t.documents, t.checked = map[string]*Document{}, map[string]int{}
	}
	t.documents[at.Host] = d
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.Base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	d := t.documents[request.URL.Host]
	t.mu.Unlock()
	if d == nil {
		return response, nil
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err := d.Check(request, response.StatusCode, response.Header, body); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.checked[fmt.Sprint(request.Method, " ", request.URL.Path, " ", response.StatusCode)]++
	t.mu.Unlock()
	return response, nil
}

// CloseIdleConnections does what http.Client's method of that name asks for.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// Checked is how many answers to a request of that method, path and status
// were checked against a document.
func (t *Transport) Checked(method, path string, status int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.checked[fmt.Sprint(method, " ", path, " ", status)]
}
