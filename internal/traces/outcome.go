package traces

import (
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Outcome says in a sentence why an order is where it is.
type Outcome struct {
	// Reason is a sentence, "" where nothing is known.
	Reason string
	// Next is the command to type next, "" for none.
	Next string
}

// OutcomeOf tells from an order's records, as [Cluster.Facts] returns them, why
// it is where it is. rejection is why its payment was rejected, "" where that is
// not known.
func OutcomeOf(order, rejection string, facts []Fact, now time.Time) Outcome {
	var created, decided Fact
	for _, f := range facts {
		switch f.Kind {
		case KindCreated:
			created = f
		case KindAuthorized, KindRejected:
			if decided.Kind == "" {
				decided = f
			}
		}
	}
	letter, state := lastLetter(facts, decided.Kind != "")
	switch {
	case letter.Kind != "" && state == KindSetAside:
		return waiting(letter)
	case decided.Kind == KindAuthorized:
		return Outcome{Reason: "It is paid: paiement authorized it" + since(created, decided) + "."}
	case decided.Kind == KindRejected && rejection != "":
		return Outcome{Reason: "It is rejected: " + rejection + "."}
	case decided.Kind == KindRejected:
		return Outcome{Reason: "It is rejected: paiement decided so" + since(created, decided) + "; suivi knows why."}
	case state == KindPurged:
		return Outcome{"It was given up: its letter " + letter.Place.String() + " was purged.", "vigie dlq show " + letter.Place.String()}
	case state == KindReplayed && created.Kind != "":
		return Outcome{"Its letter was replayed; paiement has not decided it" + ago(created, now) + ".", "vigie doctor"}
	case created.Kind != "":
		return Outcome{"It waits for paiement, which has neither decided it nor set it aside" + ago(created, now) + ".", "vigie doctor"}
	default:
		return Outcome{"None of its records says what became of it.", "vigie dlq list --order " + order}
	}
}

// lastLetter returns the letter that tells most: one that waits, before one that
// was purged or replayed. Of an order that is decided, those of paiement are
// settled. state is [KindSetAside] for one that waits.
func lastLetter(facts []Fact, decided bool) (letter Fact, state string) {
	resolved := map[record.Place]string{}
	for _, f := range facts {
		if f.Kind == KindReplayed || f.Kind == KindPurged {
			resolved[f.Origin] = f.Kind
		}
	}
	for _, f := range facts {
		if f.Kind != KindSetAside || decided && f.Group == banking.GroupPaiement {
			continue
		}
		became, done := resolved[f.Place]
		if !done {
			became = KindSetAside
		}
		if state != KindSetAside || became == KindSetAside {
			letter, state = f, became
		}
	}
	return letter, state
}

func waiting(letter Fact) Outcome {
	text := fmt.Sprintf("%s set %s aside after %s (%s)", letter.Writer(), letter.Origin, tries(letter.Attempts), letter.Reason)
	if letter.Group == banking.GroupPaiement {
		text = "It waits among the dead letters: " + text
	} else {
		text += ", and the letter waits"
	}
	return Outcome{shortened(text, lineWidth-1) + ".", "vigie dlq show " + letter.Place.String()}
}

// since is how long after its order a decision came, as far as times tell.
func since(created, decided Fact) string {
	if created.Kind == "" || decided.Time.Before(created.Time) {
		return ""
	}
	return " " + period(decided.Time.Sub(created.Time)) + " after it was placed"
}

func ago(created Fact, now time.Time) string {
	if created.Time.IsZero() || now.Before(created.Time) {
		return ""
	}
	return ", " + period(now.Sub(created.Time)) + " after it was placed"
}

// Failure says what failed first in a tree, where the order's records are not
// known.
func (t Tree) Failure() Outcome {
	for _, l := range t.Lines {
		if l.Failed {
			text := fmt.Sprintf("%s failed in %s", l.title(), l.Service)
			if l.Error != "" {
				text += " (" + l.Error + ")"
			}
			return Outcome{Reason: text + "."}
		}
	}
	return Outcome{Reason: "Nothing failed in it."}
}

func tries(n int) string {
	if n == 1 {
		return "one try"
	}
	return fmt.Sprintf("%d tries", n)
}
