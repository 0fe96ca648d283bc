package cli

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v3"
)

// linked is the version of a build that says so, as that of the image does:
// -ldflags "-X github.com/vigie-dev/vigie/internal/cli.linked=v1.2.3".
var linked string //nolint:gochecknoglobals // the linker sets nothing else

// build is what is known of how this program was built. Fields are added,
// never renamed.
type build struct {
	// Version is what the linker was given, or the module's, or "dev" for a
	// build of a work tree that says none.
	Version string `json:"version"`
	// Commit and Time are the source's, where it was built in a checkout.
	Commit string `json:"commit,omitempty"`
	Time   string `json:"time,omitempty"`
	// Modified says that the checkout had other changes.
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "say which version this is, of which commit, built by which Go", HideHelpCommand: true,
		Flags: []cli.Flag{jsonFlag("print one JSON object")},
		Action: func(_ context.Context, c *cli.Command) error {
			b := readBuild(debug.ReadBuildInfo())
			if c.Bool(flagJSON) {
				return writeJSON(c.Root().Writer, b)
			}
			_, err := fmt.Fprint(c.Root().Writer, b.text(c.Root().Name))
			return err
		},
	}
}

// programVersion is the version in one word, as telemetry and GET / show it.
func programVersion() string { return readBuild(debug.ReadBuildInfo()).Version }

// readBuild reads what the Go toolchain has written into the program.
func readBuild(info *debug.BuildInfo, ok bool) build {
	b := build{Version: cmp.Or(linked, "dev"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "(devel)" {
		b.Version = cmp.Or(linked, v, b.Version)
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// text is what people read. Its first line is that of --version.
func (b build) text(program string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s version %s\n", program, b.Version)
	if b.Commit != "" {
		fmt.Fprintf(&t, "commit %s", b.Commit)
		if b.Time != "" {
			fmt.Fprintf(&t, " of %s", b.Time)
		}
		if b.Modified {
			t.WriteString(", with changes that are not committed")
		}
		t.WriteString("\n")
	}
	fmt.Fprintf(&t, "%s %s\n", b.Go, b.Platform)
	return t.String()
}
