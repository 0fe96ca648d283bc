package telemetry

import (
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxLabelValue bounds a label's value, in bytes.
const maxLabelValue = 1024

// Budget keeps a metric within the MaxSeries of the catalogue, whatever label values come. It is safe for
// concurrent use. It allocates and locks: ask once for each label set and keep what follows from the answer.
type Budget struct {
	limit int
	mu    sync.Mutex
	seen  map[string]struct{}
}

// Budget returns the budget of the metric of that name: its MaxSeries less spare, the label sets that refused ones
// fold into. All callers share one budget; the first decides on spare. A metric that states no MaxSeries, or is not
// in the catalogue, admits nothing.
func (i *Instruments) Budget(name string, spare int) *Budget {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.budgets[name]
	if b == nil {
		b = &Budget{limit: i.byName[name].MaxSeries - spare, seen: make(map[string]struct{})}
		i.budgets[name] = b
	}
	return b
}

// Admit says whether the label set with these values may have a series of its own: it was admitted before, or there
// is room. The answer for a set that was admitted never changes. A value that is longer than 1,024 bytes or not UTF-8
// is refused.
func (b *Budget) Admit(values ...string) bool {
	var key strings.Builder
	for _, v := range values {
		if len(v) > maxLabelValue || !utf8.ValidString(v) {
			return false
		}
		key.WriteString(strconv.Itoa(len(v)) + " " + v)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.seen[key.String()]; ok {
		return true
	}
	if len(b.seen) >= b.limit {
		return false
	}
	b.seen[key.String()] = struct{}{}
	return true
}
