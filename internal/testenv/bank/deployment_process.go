//go:build !integration

package bank

import (
	"testing"
)

// deployments of `make test`: vigie up, with the embedded broker.
func deployments() map[string]func(testing.TB) Deployment {
	return map[string]func(testing.TB) Deployment{
		"in one process": func(testing.TB) Deployment { return Start },
	}
}
