package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer bounds what is read of any answer.
const maxAnswer = 16 << 20

// get asks for a URL and returns the answer's status and body.
func (d *doctor) get(ctx context.Context, address string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	if d.cfg.GrafanaUser != "" && d.cfg.Grafana != "" && strings.HasPrefix(address, d.cfg.Grafana) {
		request.SetBasicAuth(d.cfg.GrafanaUser, d.cfg.GrafanaPass)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("read the answer: %w", err)
	}
	return response.StatusCode, string(content), nil
}

// reason is an error in as few words as tell it: without the URL, which is
// said before it.
func reason(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return err.Error()
}

// hasMetric says whether an exposition page has a sample of a metric whose
// name starts so.
func hasMetric(page, prefix string) bool {
	return strings.HasPrefix(page, prefix) || strings.Contains(page, "\n"+prefix)
}
