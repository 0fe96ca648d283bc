//go:build unix && !linux

package crash

import "errors"

// errCannotMount: there is no small file system to fill here.
var errCannotMount = errors.New("a small file system is made on Linux only")

func mountSmall(string) (unmount func(), err error) { return nil, errCannotMount }
