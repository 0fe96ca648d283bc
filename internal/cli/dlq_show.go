package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
)

// errNoLetter: no dead letter stands at that place.
var errNoLetter = errors.New("no such dead letter; `vigie dlq list --all` shows those that there are")

func dlqShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show one dead letter whole: error, headers, value", ArgsUsage: "ID",
		Description: "   vigie dlq show orders.dlq/1/42\n" +
			"   vigie dlq show --json orders.dlq/1/42 | jq .value",
		Flags:  []cli.Flag{jsonFlag("one JSON object")},
		Action: dlqShow,
	}
}

func dlqShow(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("show takes one id, such as orders.dlq/1/42; `vigie dlq list` shows the ids")
	}
	f, err := filter(c, c.Args().Slice())
	if err != nil {
		return err
	}
	return withLetters(ctx, c, f, func(source deadletters.Source, listing deadletters.Listing) error {
		var found *deadletters.Whole
		if err := source.Open(ctx, listing.Letters, func(w deadletters.Whole) error {
			found = &w
			return nil
		}); err != nil {
			return err
		}
		switch {
		case found == nil:
			return fmt.Errorf("%s: %w", f.IDs[0], errNoLetter)
		case c.Bool(flagJSON):
			return json.NewEncoder(c.Root().Writer).Encode(wholeJSON(*found))
		default:
			return writeLetter(c.Root().Writer, *found, time.Now())
		}
	})
}

// writeLetter writes all that there is of a letter, for a person.
func writeLetter(w io.Writer, l deadletters.Whole, now time.Time) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) }
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
	writeHeaders(table, "headers", l.Headers)
	writeHeaders(table, "trace", l.Trace)
	_ = table.Flush() // into memory
	b.WriteString("\n" + valueText(l.Value))
	_, err := b.WriteTo(w)
	return err
}

func writeHeaders(w io.Writer, title string, headers []record.Header) {
	if len(headers) > 0 {
		fmt.Fprintf(w, "\n%s\n", title)
	}
	for _, h := range headers {
		fmt.Fprintf(w, "  %s\t%s\n", printable(h.Key), printable(string(h.Value)))
	}
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

func printableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}
