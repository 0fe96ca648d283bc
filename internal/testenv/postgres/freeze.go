//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Freeze has the server stand still with its connections open, until
// [Server.Thaw]. It works on Linux.
func (s *Server) Freeze() error {
	// The one that takes connections first: it starts no more.
	if err := s.process.Freeze(); err != nil {
		return err
	}
	return s.signalChildren(syscall.SIGSTOP)
}

// Thaw has a frozen server go on.
func (s *Server) Thaw() error {
	return errors.Join(s.signalChildren(syscall.SIGCONT), s.process.Thaw())
}

// signalChildren signals the processes that the server has for its connections
// and for itself.
func (s *Server) signalChildren(signal syscall.Signal) error {
	pid := s.process.ID()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("look for the server's processes: %w", err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("look for the server's processes: %w", err)
		}
		if err := syscall.Kill(child, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send %v to process %d: %w", signal, child, err)
		}
	}
	return nil
}
