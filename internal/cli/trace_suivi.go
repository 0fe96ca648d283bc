package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/traces"
)

const (
	suiviTimeout   = 3 * time.Second
	maxSuiviAnswer = 1 << 20
)

// knownOrder is what suivi knows of an order.
type knownOrder struct {
	found  bool
	status string
	window traces.Window
	// note says why it knows nothing; "" where it does.
	note string
}

// askSuivi asks for an order. It never fails: what suivi does not say is found
// by reading more.
func askSuivi(ctx context.Context, base, order string) knownOrder {
	target, err := url.Parse(base)
	if err != nil || target.Host == "" {
		return knownOrder{note: "suivi's URL is not one such as http://127.0.0.1:3002: the whole log was read."}
	}
	ctx, cancel := context.WithTimeout(ctx, suiviTimeout)
	defer cancel()
	status, body, err := getBounded(ctx, target.JoinPath("orders", url.PathEscape(order), "status").String())
	away := func(reason string) knownOrder {
		return knownOrder{note: fmt.Sprintf("suivi at %s does not answer (%s): the whole log was read.", target.Redacted(), reason)}
	}
	switch {
	case err != nil:
		return away(traces.Reason(err))
	case status == http.StatusNotFound:
		return knownOrder{note: "suivi does not know the order yet: the whole log was read."}
	case status != http.StatusOK:
		return away(fmt.Sprintf("status %d", status))
	}
	var answer struct {
		Status banking.OrderStatus
		Events []struct{ Timestamp time.Time }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return away("not as suivi does")
	}
	known := knownOrder{found: true}
	switch answer.Status {
	case banking.OrderStatusAuthorized, banking.OrderStatusRejected, banking.OrderStatusCreated, banking.OrderStatusFailed:
		known.status = string(answer.Status)
	}
	for _, e := range answer.Events {
		if known.window.From.IsZero() || e.Timestamp.Before(known.window.From) {
			known.window.From = e.Timestamp
		}
		if e.Timestamp.After(known.window.Until) {
			known.window.Until = e.Timestamp
		}
	}
	if !answer.Status.Decided() {
		known.window.Until = time.Time{} // more may have come since
	}
	return known
}

// getBounded reads a page of bounded length.
func getBounded(ctx context.Context, address string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxSuiviAnswer))
	return response.StatusCode, body, err
}
