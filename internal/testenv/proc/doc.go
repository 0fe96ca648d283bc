// Package testproc runs programs as child processes that a test can kill,
// freeze, and wait for, so that crashes are real ones. Only tests use it.
package proc
