//go:build !integration

package model_test

// runs is how many lives are lived unless -rapid.checks says otherwise: a few
// seconds of them.
const runs = "24"
