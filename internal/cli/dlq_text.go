package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/table"
)

// printLetters writes the letters of a list, for people or as JSON lines.
func printLetters(w io.Writer, listing deadletters.Listing, f deadletters.Filter, asJSON bool) error {
	if !asJSON {
		return writeTable(w, listing, f, time.Now())
	}
	for _, l := range listing.Letters {
		if err := writeJSON(w, letterJSON(l)); err != nil {
			return fmt.Errorf("write letters: %w", err)
		}
	}
	return nil
}

// printLetter writes one letter whole, for people or as a JSON object.
func printLetter(w io.Writer, l deadletters.Whole, asJSON bool) error {
	if asJSON {
		return writeJSON(w, wholeJSON(l))
	}
	return writeLetter(w, l, time.Now())
}

// writeTable writes the letters as a table, and below it how many there are of
// each reason.
func writeTable(w io.Writer, listing deadletters.Listing, f deadletters.Filter, now time.Time) error {
	if len(listing.Letters) > 0 {
		letters := table.Table{Header: []string{"ID", "AGE", "REASON", "CLASS", "GROUP", "TRIES", "ORDER", "FROM"}}
		if !f.Open {
			letters.Header = append(letters.Header, "STATE")
		}
		for _, l := range listing.Letters {
			row := []string{l.ID.String(), age(now.Sub(l.FailedAt)), l.Reason, cell(l.Class), cell(l.Group), tries(l), cell(l.Key), origin(l)}
			if !f.Open {
				row = append(row, stateOf(l, now))
			}
			letters.Add(row...)
		}
		if err := printTable(w, letters); err != nil {
			return fmt.Errorf("write letters: %w", err)
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w, summary(listing, f))
	return err
}

func tries(l deadletters.Letter) string {
	if l.Foreign() {
		return "-"
	}
	return strconv.Itoa(l.Attempts)
}

func origin(l deadletters.Letter) string {
	if l.Foreign() {
		return "-"
	}
	return l.Origin.String()
}

func stateOf(l deadletters.Letter, now time.Time) string {
	switch {
	case l.Decided():
		return "decided: " + l.Decision
	case !l.Resolved():
		return "waits"
	}
	return l.Resolution.Kind + " " + age(now.Sub(l.Resolution.At)) + " ago"
}

// summary is the line below the table.
func summary(listing deadletters.Listing, f deadletters.Filter) string {
	text := "no dead letters"
	if n := len(listing.Letters); n > 0 {
		text = fmt.Sprintf("%s: %s", plural(n, "dead letter"), byReason(listing.Letters))
	} else if f.Narrow() {
		text = "no dead letters match"
	}
	var hidden []string
	if listing.Hidden > 0 {
		hidden = append(hidden, strconv.Itoa(listing.Hidden)+" resolved")
	}
	if listing.Decided > 0 {
		hidden = append(hidden, plural(listing.Decided, "letter")+" of decided orders")
	}
	if len(hidden) > 0 {
		text += " (" + listed(hidden) + " not shown; --all shows them)"
	}
	return text
}

// byReason counts letters, the most frequent reason first.
func byReason(letters []deadletters.Letter) string {
	counts := map[string]int{}
	var reasons []string
	for _, l := range letters {
		if counts[l.Reason]++; counts[l.Reason] == 1 {
			reasons = append(reasons, l.Reason)
		}
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return counts[b] - counts[a] })
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%d %s", counts[r], r)
	}
	return strings.Join(reasons, ", ")
}

// writeLetter writes all that there is of a letter, for a person.
func writeLetter(w io.Writer, l deadletters.Whole, now time.Time) error {
	var facts table.Table
	row := func(name, value string) { facts.Add(name, value) }
	row("id", l.ID.String())
	row("order", printable(l.Key))
	row("state", stateOf(l.Letter, now))
	row("set aside", fmt.Sprintf("%s ago, %s", age(now.Sub(l.FailedAt)), l.FailedAt.UTC().Format(time.RFC3339)))
	if l.Foreign() {
		row("reason", l.Reason+": no consumer group has set it aside")
	} else {
		row("by", printable(l.Group))
		row("from", l.Origin.String())
		row("reason", fmt.Sprintf("%s (%s, tried %s)", l.Reason, printable(l.Class), plural(l.Attempts, "time")))
		row("error", printable(l.Message))
	}
	text := facts.Plain() + headersText("headers", l.Headers) + headersText("trace", l.Trace) + "\n" + valueText(l.Value)
	_, err := io.WriteString(w, text)
	return err
}

func headersText(title string, headers []record.Header) string {
	if len(headers) == 0 {
		return ""
	}
	var all table.Table
	for _, h := range headers {
		all.Add("  "+printable(h.Key), printable(string(h.Value)))
	}
	return "\n" + title + "\n" + all.Plain()
}

// valueText writes a record's value: JSON indented, other text as lines, and
// bytes as a hex dump.
func valueText(value []byte) string {
	var pretty bytes.Buffer
	switch {
	case value == nil:
		return "no value\n"
	case json.Indent(&pretty, value, "", "  ") == nil:
		return fmt.Sprintf("value, JSON, %s\n%s", plural(len(value), "byte"), printableLines(pretty.String()))
	case utf8.Valid(value):
		return fmt.Sprintf("value, not JSON, %s\n%s", plural(len(value), "byte"), printableLines(string(value)))
	default:
		return fmt.Sprintf("value, no text, %s\n%s", plural(len(value), "byte"), hex.Dump(value))
	}
}

// jsonLetter is a letter for machines. Fields are added, never renamed.
type jsonLetter struct {
	ID                string          `json:"id"`
	Order             string          `json:"order"`
	Reason            string          `json:"reason"`
	Class             string          `json:"class,omitempty"`
	Message           string          `json:"message,omitempty"`
	Group             string          `json:"group,omitempty"`
	Attempts          int             `json:"attempts"`
	FailedAt          time.Time       `json:"failedAt"`
	OriginalTopic     string          `json:"originalTopic,omitempty"`
	OriginalPartition *int32          `json:"originalPartition,omitempty"`
	OriginalOffset    *int64          `json:"originalOffset,omitempty"`
	Resolution        *jsonResolution `json:"resolution"`         // null unless the letter was replayed or purged
	Decision          string          `json:"decision,omitempty"` // of the order, where it was decided all the same
}

type jsonResolution struct {
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
}

func letterJSON(l deadletters.Letter) jsonLetter {
	out := jsonLetter{
		ID: l.ID.String(), Order: l.Key, Reason: l.Reason, Class: l.Class, Message: l.Message, Group: l.Group,
		Attempts: l.Attempts, FailedAt: l.FailedAt.UTC(), Decision: l.Decision,
	}
	if !l.Foreign() {
		out.OriginalTopic, out.OriginalPartition, out.OriginalOffset = l.Origin.Topic, &l.Origin.ID, &l.Origin.Offset
	}
	if l.Resolved() {
		out.Resolution = &jsonResolution{l.Resolution.Kind, l.Resolution.At}
	}
	return out
}

// jsonWhole is a letter with its record. A value that is JSON stands as it is,
// but for what writeJSON escapes; another one stands as base64.
type jsonWhole struct {
	jsonLetter
	Headers     []jsonHeader    `json:"headers"`
	Trace       []jsonHeader    `json:"trace"`
	Value       json.RawMessage `json:"value"`
	ValueBase64 []byte          `json:"valueBase64,omitempty"`
}

// jsonHeader is one header; text as it is, other bytes as base64.
type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
}

func wholeJSON(w deadletters.Whole) jsonWhole {
	out := jsonWhole{jsonLetter: letterJSON(w.Letter), Headers: headersJSON(w.Headers), Trace: headersJSON(w.Trace)}
	if json.Valid(w.Value) && utf8.Valid(w.Value) {
		out.Value = w.Value
	} else {
		out.ValueBase64 = w.Value
	}
	return out
}

func headersJSON(headers []record.Header) []jsonHeader {
	out := []jsonHeader{}
	for _, h := range headers {
		text := string(h.Value)
		if utf8.ValidString(text) {
			out = append(out, jsonHeader{Key: h.Key, Value: &text})
		} else {
			out = append(out, jsonHeader{Key: h.Key, ValueBase64: h.Value})
		}
	}
	return out
}

// maxFailures bounds the failures that are written one by one.
const maxFailures = 20

// resolving collects what becomes of letters and writes it.
type resolving struct {
	verb     string // replayed or purged
	out      io.Writer
	err      io.Writer
	json     bool
	done     int
	failed   int
	resolved int // before
	decided  int // all the same
	failures []string
}

func newResolving(c *cli.Command, verb string) *resolving {
	return &resolving{verb: verb, out: c.Root().Writer, err: c.Root().ErrWriter, json: c.Bool(flagJSON)}
}

// pick leaves out the letters that wait for nobody, and counts ids that name no
// letter as failures. Again has it take letters that have been replayed; one that
// is named and purged is taken to be refused.
func (s *resolving) pick(ids []record.Place, listed []deadletters.Letter, again bool) []deadletters.Letter {
	found := map[record.Place]bool{}
	var picked []deadletters.Letter
	for _, l := range listed {
		found[l.ID] = true
		switch {
		case l.Decided():
			s.decided++
			s.line(l, "already decided", nil)
		case l.Resolved() && (!again || l.Purged() && len(ids) == 0):
			s.resolved++
			s.line(l, "already "+l.Resolution.Kind, nil)
		default:
			picked = append(picked, l)
		}
	}
	for _, id := range ids {
		if !found[id] {
			found[id] = true // once, though it may be named twice
			s.take(deadletters.Outcome{Letter: deadletters.Letter{ID: id}, Err: errNoLetter})
		}
	}
	return picked
}

// take counts one letter's outcome.
func (s *resolving) take(o deadletters.Outcome) {
	if o.Err == nil {
		s.done++
		s.line(o.Letter, s.verb, nil)
		return
	}
	s.failed++
	s.line(o.Letter, "failed", o.Err)
	if !s.json && len(s.failures) < maxFailures {
		s.failures = append(s.failures, fmt.Sprintf("%s (%s): %s", o.Letter.ID, cell(o.Letter.Key), printable(plain(o.Err))))
	}
}

// jsonOutcome is one letter's outcome for machines.
type jsonOutcome struct {
	ID      string `json:"id"`
	Order   string `json:"order,omitempty"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

func (s *resolving) line(l deadletters.Letter, outcome string, err error) {
	if !s.json {
		return
	}
	o := jsonOutcome{ID: l.ID.String(), Order: l.Key, Outcome: outcome}
	if err != nil {
		o.Error = plain(err)
	}
	_ = writeJSON(s.out, o) // a closed pipe ends the summary too
}

// finish writes the summary. Its error says that not all went well.
func (s *resolving) finish() error {
	for _, text := range s.failures {
		fmt.Fprintln(s.err, text)
	}
	if more := s.failed - len(s.failures); more > 0 && !s.json {
		fmt.Fprintf(s.err, "… and %d more\n", more)
	}
	var err error
	if s.json {
		err = writeJSON(s.out, s.totals())
	} else {
		_, err = fmt.Fprintf(s.out, "%s %d, failed %d, already resolved %d, already decided %d\n", s.verb, s.done, s.failed, s.resolved, s.decided)
	}
	if s.failed > 0 {
		return fmt.Errorf("%s not %s", plural(s.failed, "letter"), s.verb)
	}
	return err
}

// totals are the last line for machines.
func (s *resolving) totals() map[string]int {
	return map[string]int{s.verb: s.done, "failed": s.failed, "alreadyResolved": s.resolved, "alreadyDecided": s.decided}
}
