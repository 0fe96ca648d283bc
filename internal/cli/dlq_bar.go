package cli

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar shows how far a long command is, on a terminal; elsewhere it is silent.
type bar struct {
	w    io.Writer // nil where nobody watches
	what string
	bar  *progressbar.ProgressBar
}

func newBar(w io.Writer, what string) *bar {
	if !isTerminal(w) {
		w = nil
	}
	return &bar{w: w, what: what}
}

// progress is told how much is done. It is called by one goroutine at a time.
func (b *bar) progress(done, total int64) {
	if b.w == nil {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(b.what), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	}
	_ = b.bar.Set64(done) // what cannot be drawn is not drawn
}

// finish removes the bar, so that what follows starts on an empty line.
func (b *bar) finish() {
	if b.bar != nil {
		_ = b.bar.Finish()
		b.bar = nil
	}
}
