package telemetrytest

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CheckOpenMetrics returns what the strictest parsers refuse in an OpenMetrics 1.0 page, line by line, and nil for
// a page that they take: names that clash once a suffix is cut or added, families and series that are torn apart or
// come twice, samples that their type does not have, buckets that do not add up, exemplars at the wrong place or too
// long, and what is not written as the specification says.
func CheckOpenMetrics(page string) error {
	const label = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\[\\n"])*"`
	const labels = `(?:` + label + `(?:,` + label + `)*)?`
	c := openMetrics{
		sampleForm: regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(` + labels + `)\})? (\S+)( # \{(` + labels + `)\} \S+(?: \S+)?)?$`),
		names:      map[string]string{}, series: map[string]bool{},
	}
	body, ended := strings.CutSuffix(page, "# EOF\n")
	if !ended {
		c.fail("", "does not end in # EOF")
	}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			c.metadata(line)
		} else {
			c.sample(line)
		}
	}
	c.endSeries()
	return errors.Join(c.errs...)
}

// openMetrics is how far a page has been read.
type openMetrics struct {
	sampleForm *regexp.Regexp

	errs   []error
	names  map[string]string // each name that is taken, and the family that takes it
	series map[string]bool   // each series that was seen, with its labels

	family, kind string // the current ones
	described    []string
	samples      bool            // the family has some
	groups       map[string]bool // its label sets, without le and quantile
	group        string          // the current one
	le, bucket   float64         // of the current group's last bucket
	infinite     bool            // it was the last one
}

func (c *openMetrics) fail(line, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %q", fmt.Sprintf(format, args...), line))
}

// suffixesOf are those that a family's samples have, by its type.
func suffixesOf(kind string) []string {
	switch kind {
	case "counter":
		return []string{"_total", "_created"}
	case "summary":
		return []string{"", "_count", "_sum", "_created"}
	case "histogram":
		return []string{"_count", "_sum", "_bucket", "_created"}
	case "info":
		return []string{"_info"}
	default:
		return []string{""}
	}
}

// metadata reads a line # HELP or # TYPE, which begins a family or says more of it.
func (c *openMetrics) metadata(line string) {
	words := strings.SplitN(line, " ", 4)
	if len(words) != 4 || words[0] != "#" || !slices.Contains([]string{"HELP", "TYPE", "UNIT"}, words[1]) {
		c.fail(line, "is no metadata")
		return
	}
	if words[2] != c.family {
		c.endSeries()
		c.family, c.kind, c.described, c.samples = words[2], "unknown", nil, false
		c.groups, c.group = map[string]bool{}, ""
	}
	if c.samples || slices.Contains(c.described, words[1]) {
		c.fail(line, "comes after samples, or twice")
	}
	c.described = append(c.described, words[1])
	if words[1] != "TYPE" {
		return
	}
	c.kind = words[3]
	taken := slices.Compact(slices.Sorted(slices.Values(append(suffixesOf(c.kind), ""))))
	for _, suffix := range taken {
		if other, ok := c.names[c.family+suffix]; ok {
			c.fail(line, "%s is a name of %s already", c.family+suffix, other)
		}
		c.names[c.family+suffix] = c.family
	}
}

// sample reads one line of a series.
func (c *openMetrics) sample(line string) {
	match := c.sampleForm.FindStringSubmatch(line)
	if match == nil || !utf8.ValidString(line) {
		c.fail(line, "is no sample")
		return
	}
	suffix, ok := strings.CutPrefix(match[1], c.family)
	if c.family == "" || !ok || !slices.Contains(suffixesOf(c.kind), suffix) {
		c.fail(line, "is no sample of the %s %s", c.kind, c.family)
		return
	}
	value, err := strconv.ParseFloat(match[3], 64)
	if err != nil || suffix != "" && !(value >= 0) {
		c.fail(line, "has no value that a %s can have", c.kind)
	}
	if match[4] != "" {
		c.exemplar(line, suffix, match[5])
	}
	names := split(match[2])
	slices.Sort(names)
	if id := match[1] + strings.Join(names, ","); c.series[id] {
		c.fail(line, "comes twice")
	} else {
		c.series[id] = true
	}
	c.inGroup(line, suffix, names, value)
}

// split returns each of the labels, which have their form.
func split(labels string) (each []string) {
	for labels != "" {
		end := strings.IndexByte(labels, '"') + 1
		for labels[end] != '"' {
			if labels[end] == '\\' {
				end++
			}
			end++
		}
		each = append(each, labels[:end+1])
		labels = strings.TrimPrefix(labels[end+1:], ",")
	}
	return each
}

// exemplar checks where an exemplar stands, and its length: 128 characters of names and values.
func (c *openMetrics) exemplar(line, suffix, labels string) {
	if suffix != "_bucket" && suffix != "_total" {
		c.fail(line, "has an exemplar")
	}
	characters := 0
	for _, label := range split(labels) {
		name, value, _ := strings.Cut(label, "=")
		value, _ = strconv.Unquote(value)
		characters += utf8.RuneCountInString(name) + utf8.RuneCountInString(value)
	}
	if characters > 128 {
		c.fail(line, "has an exemplar of %d characters", characters)
	}
}

// inGroup checks that the samples of one label set stand together, and that a histogram's buckets ascend to +Inf.
func (c *openMetrics) inGroup(line, suffix string, labels []string, value float64) {
	le := ""
	rest := slices.DeleteFunc(slices.Clone(labels), func(l string) bool {
		if suffix == "_bucket" && strings.HasPrefix(l, "le=") {
			le, _ = strconv.Unquote(strings.TrimPrefix(l, "le="))
			return true
		}
		return c.kind == "summary" && strings.HasPrefix(l, "quantile=")
	})
	if group := strings.Join(rest, ","); !c.samples || group != c.group {
		c.endSeries()
		if c.groups[group] {
			c.fail(line, "is torn from its label set")
		}
		c.groups[group], c.group, c.samples = true, group, true
		c.le, c.bucket, c.infinite = math.Inf(-1), 0, false
	}
	switch suffix {
	case "_bucket":
		bound, err := strconv.ParseFloat(le, 64)
		if err != nil || !strings.ContainsAny(le, ".e+") || bound <= c.le || value < c.bucket || value != float64(int64(value)) {
			c.fail(line, "is no bucket that may follow le %v with %v", c.le, c.bucket)
		}
		c.le, c.bucket, c.infinite = bound, value, le == "+Inf"
	case "_count":
		if c.kind == "histogram" && value != c.bucket {
			c.fail(line, "is not the count of the last bucket, %v", c.bucket)
		}
	}
}

// endSeries checks what only shows once a label set has ended.
func (c *openMetrics) endSeries() {
	if c.kind == "histogram" && c.samples && !c.infinite {
		c.fail(c.family+"{"+c.group+"}", "has no bucket +Inf")
	}
}
