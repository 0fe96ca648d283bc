package traces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

var (
	// ErrUnknownTrace: Jaeger answers, and has no span of the trace.
	ErrUnknownTrace = errors.New("does not know the trace")
	// ErrNoJaeger: nothing answers there, or not as Jaeger does.
	ErrNoJaeger = errors.New("does not answer")
)

const (
	// maxAnswer bounds Jaeger's answer: tens of thousands of spans.
	maxAnswer     = 32 << 20
	jaegerTimeout = 10 * time.Second
)

// Jaeger is a Jaeger whose query API is asked.
type Jaeger struct {
	// URL is where its user interface is, such as http://127.0.0.1:16686.
	URL string
}

// Trace returns the spans of the trace with that id, 32 lower-case hex digits.
// Errors wrap [ErrUnknownTrace] or [ErrNoJaeger]. An answer takes ten seconds
// at most.
func (j Jaeger) Trace(ctx context.Context, id string) (Trace, error) {
	base, err := url.Parse(j.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return Trace{}, fmt.Errorf("Jaeger %w: its URL is not one such as http://127.0.0.1:16686", ErrNoJaeger) //nolint:revive // a name
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: jaegerTimeout}
	t, err := ask(ctx, client, base.JoinPath("api", "traces", id).String(), id)
	if err != nil {
		return Trace{}, fmt.Errorf("Jaeger at %s %w", base.Redacted(), err) //nolint:revive // a name
	}
	return t, nil
}

func ask(ctx context.Context, client *http.Client, address, id string) (Trace, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %w", ErrNoJaeger, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %s", ErrNoJaeger, Reason(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Trace{}, fmt.Errorf("%w to its end: %s", ErrNoJaeger, Reason(err))
	case len(body) > maxAnswer:
		return Trace{}, fmt.Errorf("%w in less than %d MiB", ErrNoJaeger, maxAnswer>>20)
	case response.StatusCode == http.StatusNotFound && says(body) != "":
		return Trace{}, ErrUnknownTrace
	case response.StatusCode != http.StatusOK:
		return Trace{}, fmt.Errorf("%w as it should: %s", ErrNoJaeger, strings.TrimSpace(response.Status+" "+says(body)))
	}
	t, err := decode(body, id)
	if errors.Is(err, errForeignAnswer) {
		return Trace{}, fmt.Errorf("%w: %w", ErrNoJaeger, err)
	}
	return t, err
}

// says is the error that an answer of Jaeger's holds, or "".
func says(body []byte) string {
	var a answer
	if json.Unmarshal(body, &a) != nil || len(a.Errors) == 0 {
		return ""
	}
	return clean(a.Errors[0].Msg, maxName)
}

// Reason is the error of a question over HTTP in a few words, without the
// address, which is said before it.
func Reason(err error) string {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		if asked.Timeout() {
			return "no answer in time"
		}
		err = asked.Err
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}
