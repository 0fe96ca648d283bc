//go:build !integration

package checks

const integration = false
