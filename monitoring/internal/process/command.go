//go:build unix

package process

// Command says what [Command.Start] starts.
type Command struct {
	// Name is for errors.
	Name string
	// Folder is where the process works.
	Folder string
	Path   string
	Args   []string
	// Env are settings, NAME=value, beside those of the test's own
	// environment, over which they win.
	Env []string
}

// Start starts a program in a folder; the name is for errors.
func Start(name, folder, path string, args ...string) (*Process, error) {
	return Command{Name: name, Folder: folder, Path: path, Args: args}.Start()
}
