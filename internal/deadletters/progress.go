package deadletters

import "github.com/vigie-dev/vigie/internal/kafka"

// stepper returns a function that tells of one step more. Its callers hold a
// lock of theirs.
func stepper(progress Progress, total int64) func() {
	if progress == nil {
		return func() {}
	}
	done := int64(0)
	return func() {
		done = min(done+1, total)
		progress(done, total)
	}
}

// length is how many offsets the spans cover.
func length(spans []kafka.Span) (n int64) {
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}
