//go:build integration

package proc

// Integration says whether tests may need more than Go, and minutes to fetch and
// build servers: those with the tag integration may.
const Integration = true
