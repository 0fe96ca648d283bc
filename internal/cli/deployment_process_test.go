//go:build !integration

package cli

import "testing"

// deployments of `make test`: vigie up, with the embedded broker.
func deployments() map[string]func(testing.TB) deployment {
	return map[string]func(testing.TB) deployment{
		"in one process": func(testing.TB) deployment { return startSystem },
	}
}
