package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// maxNamed bounds the orders that the question before a purge names.
const maxNamed = 5

func dlqPurgeCommand() *cli.Command {
	return &cli.Command{
		Name: "purge", Usage: "mark letters as given up: they are not to be replayed", ArgsUsage: "[ID…]",
		Description: "Marks the letters that are named, or all that the filters choose. Nothing is deleted; the topic's\n" +
			"retention does that. An order whose payment is purged will never be decided: it is neither paid\n" +
			"nor rejected. Until retention, `vigie dlq replay --again` takes a purge back.\n\n" +
			"   vigie dlq purge orders.dlq/1/42\n" +
			"   vigie dlq purge --reason malformed --older-than 168h\n" +
			"   vigie dlq purge --all-letters --yes",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: flagAllLetters, Category: "Which letters", Usage: "every letter that waits"},
			yesFlag(),
			jsonFlag("one JSON object per letter and line, the last one with the totals; needs --yes")),
		Action: dlqPurge,
	}
}

func dlqPurge(ctx context.Context, c *cli.Command) error {
	f, err := selection(c)
	if err != nil {
		return err
	}
	if c.Bool(flagJSON) && !c.Bool(flagYes) {
		return errors.New("--json leaves no room for a question; confirm with --yes")
	}
	return withLetters(ctx, c, f, func(source deadletters.Source, listing deadletters.Listing) error {
		s := newSettling(c, record.Purged)
		letters := s.pick(f.IDs, listing.Letters, false)
		if len(letters) > 0 {
			if err := confirmPurge(c, letters); err != nil {
				return err
			}
		}
		err := settleLetters(ctx, c, s, source, letters)
		return errors.Join(s.finish(), err)
	})
}

// confirmPurge says what a purge means and, unless --yes, asks.
func confirmPurge(c *cli.Command, letters []deadletters.Letter) error {
	text := fmt.Sprintf("%s will be marked as purged and not be replayed.", plural(len(letters), "dead letter"))
	if orders := undecided(letters); len(orders) > 0 {
		named := orders[:min(len(orders), maxNamed)]
		text += fmt.Sprintf("\n%s will never be decided, neither paid nor rejected: %s", plural(len(orders), "order"), strings.Join(named, ", "))
		if len(named) < len(orders) {
			text += ", …"
		}
	}
	if c.Bool(flagYes) {
		if !c.Bool(flagJSON) {
			fmt.Fprintln(c.Root().Writer, text)
		}
		return nil
	}
	return confirm(c, text)
}

// undecided returns the orders whose payment was not decided because of one of
// the letters. A contradictory letter is another order under a decided one's id.
func undecided(letters []deadletters.Letter) []string {
	seen := map[string]bool{}
	var out []string
	for _, l := range letters {
		if l.Group != banking.GroupPaiement || l.Reason == string(delivery.ReasonContradictory) || seen[l.Key] {
			continue
		}
		seen[l.Key] = true
		out = append(out, cell(l.Key))
	}
	return out
}
