//go:build !integration

package proc

// Integration says whether tests may fetch and build servers, which takes
// minutes: they are built with the tag integration.
const Integration = false
