package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/deadletters"
)

func dlqListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the dead letters that wait, the oldest first",
		Description: "   vigie dlq list\n" +
			"   vigie dlq list --reason malformed --older-than 24h\n" +
			"   vigie dlq list --order order-7 --all\n" +
			"   vigie dlq list --json | jq -r 'select(.attempts > 1) | .id'",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: "all", Category: "Which letters", Usage: "also those that have been replayed or purged"},
			jsonFlag("one JSON object per letter and line")),
		Action: dlqList,
	}
}

func dlqList(ctx context.Context, c *cli.Command) error {
	if c.Args().Present() {
		return fmt.Errorf("list takes no arguments, got %q; `vigie dlq show` shows one letter", c.Args().First())
	}
	f, err := filter(c, nil)
	if err != nil {
		return err
	}
	f.Open = !c.Bool("all")
	return withLetters(ctx, c, f, func(_ deadletters.Source, listing deadletters.Listing) error {
		if !c.Bool(flagJSON) {
			return writeTable(c.Root().Writer, listing, f, time.Now())
		}
		lines := json.NewEncoder(c.Root().Writer)
		for _, l := range listing.Letters {
			if err := lines.Encode(letterJSON(l)); err != nil {
				return fmt.Errorf("write letters: %w", err)
			}
		}
		return nil
	})
}

// writeTable writes the letters as a table, and below it how many there are of
// each reason.
func writeTable(w io.Writer, listing deadletters.Listing, f deadletters.Filter, now time.Time) error {
	if len(listing.Letters) > 0 {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		header, state := "ID\tAGE\tREASON\tCLASS\tGROUP\tTRIES\tORDER\tFROM", ""
		if !f.Open {
			header += "\tSTATE"
		}
		fmt.Fprintln(table, header)
		for _, l := range listing.Letters {
			if !f.Open {
				state = "\t" + stateOf(l, now)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", l.ID, age(now.Sub(l.FailedAt)), l.Reason, cell(l.Class),
				cell(l.Group), tries(l), cell(l.Key), origin(l), state)
		}
		if err := table.Flush(); err != nil {
			return fmt.Errorf("write letters: %w", err)
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w, summary(listing, f))
	return err
}

// summary is the line below the table.
func summary(listing deadletters.Listing, f deadletters.Filter) string {
	text := "no dead letters"
	if n := len(listing.Letters); n > 0 {
		text = fmt.Sprintf("%s: %s", plural(n, "dead letter"), byReason(listing.Letters))
	} else if f.Narrow() {
		text = "no dead letters match"
	}
	if listing.Hidden > 0 {
		text += fmt.Sprintf(" (%d resolved not shown; --all shows them)", listing.Hidden)
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
