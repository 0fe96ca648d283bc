// Package checks says with how many random cases a property is tried: few in `make test`, so that it
// stays short, many in `make test-integration`. Only tests use it; few.go and many.go tell the two
// apart by the build tag.
package checks

import "flag"

// Set has each property of this test program tried with few cases, or with many in the integration
// tests; -rapid.checks overrides both. It belongs at the start of TestMain, and panics where rapid is
// not imported.
func Set(few, many string) {
	n := few
	if integration {
		n = many
	}
	if err := flag.Set("rapid.checks", n); err != nil {
		panic("no property is tried here: " + err.Error())
	}
}
