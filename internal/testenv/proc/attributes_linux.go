package proc

import "syscall"

// attributes have the kernel kill the child when the test ends without a
// chance to, and keep a terminal's Ctrl-C for the test alone.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
