//go:build integration

package testpostgres

// integration says whether tests may need more than Go.
const integration = true
