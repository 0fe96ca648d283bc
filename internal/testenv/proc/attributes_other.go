//go:build unix && !linux

package proc

import "syscall"

// attributes keep a terminal's Ctrl-C for the test alone.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
