//go:build !integration

package postgres

// integration says whether tests may need more than Go.
const integration = false
