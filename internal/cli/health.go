package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/services"
)

const (
	healthName  = "health"
	flagTimeout = "timeout"
	// healthTimeout is longer than a service takes to check what it depends on,
	// so that the answer is the service's own reason.
	healthTimeout = 3 * time.Second
	maxHealthBody = 64 << 10
)

// errUnhealthy: something answered, and it was not 200.
var errUnhealthy = errors.New("not healthy")

// errSilent: nothing answered.
var errSilent = errors.New("does not answer")

// healthCommand is also the health check of containers whose image has
// neither a shell nor a client.
func healthCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name: healthName, Usage: "check whether services are ready", ArgsUsage: "[URL…]", HideHelpCommand: true,
		Description: "Requests each URL, or the services where they are, and exits with 0 when all answer\n" +
			"with 200. A URL without a path gets the path /health/ready.",
		Flags: slices.Concat(httpClientFlags(), addrFlags(registry), []cli.Flag{
			instanceFlag(),
			&duration.Flag{Name: flagTimeout, Value: healthTimeout, Usage: "how long all answers may take together", Validator: positiveDuration},
			jsonFlag("print one JSON object for each URL and line: url, ready and, where it is not, reason"),
		}),
		Action: onInstance(func(ctx context.Context, c *cli.Command) error { return health(ctx, c, registry) }),
	}
}

func health(ctx context.Context, c *cli.Command, registry services.Registry) error {
	ctx, cancel := context.WithTimeout(ctx, c.Duration(flagTimeout))
	defer cancel()
	urls := c.Args().Slice()
	if len(urls) == 0 {
		for _, s := range registry {
			urls = append(urls, serviceURL(c, s))
		}
	}
	transport, err := clientTransport(c)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: transport}
	if c.Bool(flagJSON) {
		return healthJSON(ctx, c.Root().Writer, client, urls)
	}
	for _, one := range urls {
		if err := checkHealth(ctx, client, one); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(c.Root().Writer, "ready: %s\n", strings.Join(urls, " "))
	return err
}

// healthAnswer is what one URL answered. Fields are added, never renamed.
type healthAnswer struct {
	URL    string `json:"url"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // why not
}

// healthJSON writes one object for each URL and line, and returns the first error.
func healthJSON(ctx context.Context, w io.Writer, client *http.Client, urls []string) (first error) {
	for _, one := range urls {
		err := checkHealth(ctx, client, one)
		answer := healthAnswer{URL: one, Ready: err == nil}
		if err != nil {
			answer.Reason = plain(err)
		}
		if isMisuse(err) {
			return err
		}
		if written := writeJSON(w, answer); written != nil {
			return written
		}
		first = cmp.Or(first, err)
	}
	return first
}

// checkHealth returns nil when the URL answers with 200, else why not.
func checkHealth(ctx context.Context, client *http.Client, raw string) error {
	target, err := url.Parse(raw)
	if err != nil || target.Host == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return misusef("health: %.64q is not a URL such as http://127.0.0.1:3001", raw)
	}
	if target.Path == "" {
		target.Path = "/health/ready"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return fmt.Errorf("make request to %s: %w", target, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s %w: %w", target, errSilent, rootCause(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("%s is %w: %s", target, errUnhealthy, reason(response))
}

// reason is what the answer says is wrong: a problem's detail, or the status.
func reason(response *http.Response) string {
	var problem struct{ Detail string }
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHealthBody))
	if err == nil && json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		return problem.Detail
	}
	return response.Status
}

// rootCause takes the request, which the message names already, off a
// client's error.
func rootCause(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
