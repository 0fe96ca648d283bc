//go:build integration

package checks

const integration = true
