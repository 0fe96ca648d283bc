package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"
	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/table"
	"github.com/vigie-dev/vigie/telemetry"
)

// isTerminal says whether somebody reads w on a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := fileOf(w)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}

// fileOf is the file that w writes to, if it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if lines, ok := w.(*telemetry.LineWriter); ok {
		w = lines.Unwrap()
	}
	file, ok := w.(*os.File)
	return file, ok
}

// printTable writes a table: on a terminal in its width and with a header that
// stands out unless NO_COLOR is set, elsewhere as plain text.
func printTable(w io.Writer, t table.Table) error {
	text := t.Plain()
	if file, ok := fileOf(w); ok && isTerminal(w) {
		if width, _, err := term.GetSize(file.Fd()); err == nil && width > 0 {
			text, w = t.Fit(width), colorprofile.NewWriter(file, os.Environ())
		}
	}
	_, err := io.WriteString(w, text)
	return err
}

// barAfter is how long a command may take without a bar.
const barAfter = time.Second

// bar shows how far a command is that takes longer than a second, on a terminal;
// elsewhere it is silent.
type bar struct {
	what  string
	after *time.Timer // nil where nobody watches

	mu          sync.Mutex
	w           io.Writer
	shown       bool
	done, total int64
	bar         *progressbar.ProgressBar
}

func newBar(w io.Writer, what string) *bar {
	if !isTerminal(w) {
		return &bar{what: what}
	}
	return newBarAfter(w, what, barAfter)
}

func newBarAfter(w io.Writer, what string, after time.Duration) *bar {
	b := &bar{w: w, what: what}
	b.after = time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.shown = b.w != nil
		b.show()
	})
	return b
}

// draw shows how much is done, once it is time for that.
func (b *bar) draw(done, total int64) {
	if b.after == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done, b.total = done, total
	b.show()
}

// say changes what is said beside the bar.
func (b *bar) say(what string) {
	if b.after == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.what = what
	if b.bar != nil {
		b.bar.Describe(what)
	}
}

// show draws what is known. The caller has the lock.
func (b *bar) show() {
	if !b.shown || b.total == 0 {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(b.total,
			progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(b.what), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	}
	b.bar.ChangeMax64(b.total)
	_ = b.bar.Set64(b.done) // what cannot be drawn is not drawn
}

// finish removes the bar, so that what follows starts on an empty line.
func (b *bar) finish() {
	if b.after == nil {
		return
	}
	b.after.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Finish()
	}
	b.w, b.shown, b.bar = nil, false, nil
}

// errNotConfirmed: a question was not answered with yes.
var errNotConfirmed = errors.New("not confirmed; nothing was changed")

// confirm asks before what cannot be undone, unless --yes.
func confirm(c *cli.Command, what string) error {
	if c.Bool(flagYes) {
		return nil
	}
	fmt.Fprintf(c.Root().Writer, "%s\nType yes to go on: ", what)
	answer, _ := bufio.NewReader(c.Root().Reader).ReadString('\n') // no answer is a no
	if strings.TrimSpace(answer) != "yes" {
		return errNotConfirmed
	}
	return nil
}

// listed joins names for a sentence.
func listed(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// maxCell bounds a text in a table, in runes.
const maxCell = 40

// cell makes a text fit to stand in a table; "-" stands for none.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return shortened(printable(text), maxCell)
}

func shortened(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

// printable writes what a terminal could obey, or not show, as an escape. A
// dead letter holds whatever somebody sent.
func printable(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

// writeJSON writes a document on one line. What is in its texts and a terminal
// could obey, or not show, is escaped: they may hold whatever somebody sent.
func writeJSON(w io.Writer, document any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err := w.Write(append(escaped(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), '\n'))
	return err
}

// escaped writes what is not printable as JSON's escapes. Such characters stand
// in a document's strings alone.
func escaped(document []byte) []byte {
	out := make([]byte, 0, len(document)+1)
	for len(document) > 0 {
		r, n := utf8.DecodeRune(document)
		switch high, low := utf16.EncodeRune(r); {
		case r != utf8.RuneError && unicode.IsPrint(r):
			out = append(out, document[:n]...)
		case r > 0xffff:
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		document = document[n:]
	}
	return out
}

// age writes a duration with two units at most, such as 2m13s or 3d4h.
func age(d time.Duration) string {
	d = max(0, d).Truncate(time.Second)
	const day = 24 * time.Hour
	switch {
	case d < time.Hour:
		return d.String()
	case d < 2*day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
