package crash

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// diskSize is the capacity of a data folder that can be filled.
const diskSize = "size=96m"

// errCannotMount: this user may not mount a file system.
var errCannotMount = errors.New("mounting a small file system takes root")

// mountSmall puts a folder on a small file system of its own. The data folder
// is gone with it.
func mountSmall(folder string) (unmount func(), err error) {
	err = syscall.Mount("vigie-crash", folder, "tmpfs", 0, diskSize)
	if errors.Is(err, os.ErrPermission) {
		return nil, errCannotMount
	}
	if err != nil {
		return nil, fmt.Errorf("mount a small file system on %s: %w", folder, err)
	}
	return func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) }, nil
}
