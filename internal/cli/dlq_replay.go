package cli

import (
	"context"
	"errors"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
)

func dlqReplayCommand() *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "publish letters' records once more, to the topics they came from", ArgsUsage: "[ID…]",
		Description: "Replays the letters that are named, or all that the filters choose. Letters that have been\n" +
			"replayed or purged before are passed over. Replaying is safe at any time, twice, and while an\n" +
			"earlier replay is in flight: consumers compare event ids, so an order is decided once. A record\n" +
			"that fails again becomes a new letter.\n\n" +
			"   vigie dlq replay orders.dlq/1/42 orders.dlq/2/7\n" +
			"   vigie dlq replay --reason authoriser --newer-than 2h\n" +
			"   vigie dlq replay --all-letters --json\n" +
			"   vigie dlq replay --again orders.dlq/1/42      takes a purge back",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: flagAllLetters, Category: "Which letters", Usage: "every letter that waits"},
			&cli.BoolFlag{Name: flagAgain, Category: "Which letters", Usage: "also letters that have been replayed or purged"},
			jsonFlag("one JSON object per letter and line, the last one with the totals")),
		Action: dlqReplay,
	}
}

func dlqReplay(ctx context.Context, c *cli.Command) error {
	f, err := selection(c)
	if err != nil {
		return err
	}
	return withLetters(ctx, c, f, func(source deadletters.Source, listing deadletters.Listing) error {
		s := newSettling(c, record.Replayed)
		letters := s.pick(f.IDs, listing.Letters, c.Bool(flagAgain))
		err := settleLetters(ctx, c, s, source, letters)
		return errors.Join(s.finish(), err)
	})
}

// settleLetters replays or purges letters, with a progress bar.
func settleLetters(ctx context.Context, c *cli.Command, s *settling, source deadletters.Source, letters []deadletters.Letter) error {
	if len(letters) == 0 {
		return nil
	}
	bar := newBar(c.Root().ErrWriter, s.verb)
	defer bar.finish()
	told := int64(0)
	report := func(o deadletters.Outcome) {
		s.tell(o)
		told++
		bar.progress(told, int64(len(letters)))
	}
	return withSettler(ctx, c, source, func(settler deadletters.Resolver) error {
		if s.verb == record.Purged {
			return settler.Purge(ctx, letters, report)
		}
		return settler.Replay(ctx, letters, report)
	})
}
