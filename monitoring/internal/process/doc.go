// Package process runs servers as child processes of a test: it waits for what
// they write, ends them, and leaves none behind. Only tests use it.
package process
