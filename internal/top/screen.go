package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

const defaultWidth = 100

// Show keeps a frame up to date on a terminal until ctx ends or q is pressed.
func Show(ctx context.Context, w Watcher, every time.Duration, in io.Reader, out io.Writer) error {
	_, err := tea.NewProgram(newScreen(ctx, w.Look, every), tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out)).Run()
	if err != nil && ctx.Err() == nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("show on the terminal: %w", err)
	}
	return nil
}

// screen is Bubble Tea's model: one look at a time, the next when the interval
// after its answer has passed.
type screen struct {
	ctx           context.Context //nolint:containedctx // of the program, whose commands take none
	look          func(context.Context) Frame
	every         time.Duration
	frame         *Frame // nil before the first
	width, height int
}

func newScreen(ctx context.Context, look func(context.Context) Frame, every time.Duration) screen {
	return screen{ctx: ctx, look: look, every: every, width: defaultWidth}
}

type lookMsg struct{}

// Init implements [tea.Model].
func (s screen) Init() tea.Cmd { return s.ask }

// ask looks once.
func (s screen) ask() tea.Msg { return s.look(s.ctx) }

// Update implements [tea.Model].
func (s screen) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch m := message.(type) {
	case Frame:
		s.frame = &m
		return s, tea.Tick(s.every, func(time.Time) tea.Msg { return lookMsg{} })
	case lookMsg:
		return s, s.ask
	case tea.WindowSizeMsg:
		s.width, s.height = m.Width, m.Height
	case tea.KeyPressMsg:
		switch m.String() {
		case "q", "esc", "ctrl+c":
			return s, tea.Quit
		}
	}
	return s, nil
}

// View implements [tea.Model].
func (s screen) View() tea.View {
	text := "asking Prometheus …\n"
	if s.frame != nil {
		text = s.frame.Text(s.width)
	}
	view := tea.NewView(fit(text+"\nq quits", s.height))
	view.AltScreen, view.WindowTitle = true, "vigie top"
	return view
}

// fit leaves out what a terminal of so many lines cannot show, and says so; 0 is
// a height that is not known.
func fit(text string, height int) string {
	lines := strings.Split(text, "\n")
	if height <= 0 || len(lines) <= height {
		return text
	}
	kept := max(0, height-1)
	return strings.Join(append(lines[:kept:kept], fmt.Sprintf("… %d more lines; make the window taller", len(lines)-kept)), "\n")
}
