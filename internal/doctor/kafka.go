package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kafka is what a look at the brokers finds.
type Kafka struct {
	// Where are the addresses that answered.
	Where string
	// Concerns are the settings of topics that endanger what the system promises.
	Concerns []Concern
	// Groups are the consumer groups of the services that are looked at.
	Groups []Group
	// Ahead are the places from which on records bear times that are yet to come.
	Ahead []string
	// Letters are the dead letters that wait, or Unread why that is not known.
	Letters Letters
	Unread  error
}

// Concern is a topic's setting that endangers what the system promises.
type Concern struct{ Topic, Text, Fix string }

// Group is how far a consumer group is.
type Group struct {
	Name, Service string
	Members       int
	// Behind is how many records it has yet to read, and Late how many of them
	// have waited for longer than [LateAfter].
	Behind, Late int64
}

// LateAfter is how long a record may wait to be read.
const LateAfter = time.Minute

// Letters are the dead letters that wait for somebody.
type Letters struct {
	Waiting int
	// Reasons says how many failed why, such as "2 authoriser, 1 malformed".
	Reasons string
	Oldest  time.Time
}

// Parts of Kafka, as findings name them.
const (
	partKafka   = "Kafka"
	partTopics  = "Kafka's topics"
	partLetters = "dead letters"
)

// AwayError is the error of a look at brokers that do not answer.
type AwayError struct {
	Where string
	Err   error
}

// Error says that nobody answers.
func (e *AwayError) Error() string { return e.Where + " does not answer: " + e.Err.Error() }

// Unwrap is why.
func (e *AwayError) Unwrap() error { return e.Err }

// checkKafka looks at the brokers, the topics, who reads them, and what was set
// aside.
func (d *doctor) checkKafka(ctx context.Context, e *exam) {
	if d.cfg.Kafka == nil {
		return
	}
	seen, err := d.cfg.Kafka(ctx)
	if away, ok := err.(*AwayError); ok { //nolint:errorlint // it is what the look returns
		e.away(familyBank, partKafka, away.Where, d.reason(away.Err),
			"Start everything with `make run`, or a broker with `vigie broker`; say where Kafka is with --kafka-brokers.").from(partCertificates)
		return
	}
	if err != nil {
		e.wrong(partKafka, "cannot be looked at: "+d.reason(err), "Say where Kafka is, and how to authenticate, with --kafka-brokers and its like.").from(partCertificates)
		return
	}
	e.ok(partKafka, "answers at "+seen.Where)
	checkConcerns(e, seen.Concerns)
	for _, g := range seen.Groups {
		checkGroup(e, g)
	}
	d.checkLetters(e, seen)
	if len(seen.Ahead) > 0 {
		e.wrong(partClocks, "records bear times that are yet to come, from "+listed(seen.Ahead)+" on",
			"Set the clock of whoever wrote them, by NTP; what is kept for a time is then kept longer, and nothing is lost.").like(partClocks)
	}
}

// checkConcerns reports what endangers the promise, or that nothing does: what
// one command sets right is one finding.
func checkConcerns(e *exam, concerns []Concern) {
	var fixes []string
	for _, c := range concerns {
		fixes = append(fixes, c.Fix)
	}
	for _, fix := range unique(fixes) {
		var texts []string
		for _, c := range concerns {
			if c.Fix == fix {
				texts = append(texts, c.Topic+": "+c.Text)
			}
		}
		e.wrong(partTopics, strings.Join(texts, "; "), "Run `"+fix+"`.")
	}
	if len(concerns) == 0 {
		e.ok(partTopics, "keep records for as long, and take them as large, as they should")
	}
}

func checkGroup(e *exam, g Group) {
	switch {
	case g.Members == 0:
		e.wrong(g.Name, fmt.Sprintf("has no members: nobody reads the %s that wait for %s", plural(g.Behind, "record"), g.Service),
			"Start "+g.Service+"; its log says why it ended.").from(g.Service)
	case g.Late > 0:
		e.wrong(g.Name, fmt.Sprintf("is %s behind; %s waited for more than a minute", plural(g.Behind, "record"), haveOf(g.Late, g.Behind)),
			"See docs/operations.md on lag, and `vigie explain ConsumerLagHigh`.").from(g.Service)
	case g.Behind > 0:
		e.ok(g.Name, fmt.Sprintf("is %s behind, none of which has waited for a minute", plural(g.Behind, "record")))
	default:
		e.ok(g.Name, "has read everything")
	}
}

// haveOf says how many of some do.
func haveOf(some, all int64) string {
	switch {
	case some == all && all == 1:
		return "it has"
	case some == all:
		return "all have"
	case some == 1:
		return "1 has"
	default:
		return strconv.FormatInt(some, 10) + " have"
	}
}

func (d *doctor) checkLetters(e *exam, seen Kafka) {
	switch l := seen.Letters; {
	case seen.Unread != nil:
		e.wrong(partLetters, "cannot be read: "+d.reason(seen.Unread), "Give it longer with --timeout, or see `vigie dlq list`.").
			from(partTopics)
	case l.Waiting > 0:
		e.wrong(partLetters, fmt.Sprintf("wait: %d (%s), the oldest for %s", l.Waiting, l.Reasons, d.cfg.Now().Sub(l.Oldest).Truncate(time.Second)),
			"See them with `vigie dlq list`; once the cause is fixed, `vigie dlq replay --all-letters`.")
	default:
		e.ok(partLetters, "wait for nobody")
	}
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}
