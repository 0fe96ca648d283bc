// Package libopenapi and those below it stand for a library by which Prometheus
// describes its API. It takes a third of the time that Prometheus takes to
// compile, and nobody reads the description here. The requests that it describes
// are all there.
//
// The packages have the names, types and fields that Prometheus uses. A newer
// Prometheus that uses more does not compile: add what it names, or take the
// replacement out of go.mod.
package libopenapi
