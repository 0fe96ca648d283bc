// Package base is empty. The tests of Prometheus import one of its name, and go mod
// tidy looks for it.
package base
