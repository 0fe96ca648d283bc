package groups

import "github.com/vigie-dev/vigie/internal/verdicts"

// Sampled returns the newest sample of what a group reads, as it is judged by.
func (c *Collector) Sampled(at verdicts.Place) (verdicts.Sample, bool) {
	t := c.memory.tracks[at]
	if t == nil {
		return verdicts.Sample{}, false
	}
	return t.timeline.Last()
}
