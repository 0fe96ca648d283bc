package crash

import (
	"bytes"
	"fmt"

	"github.com/vigie-dev/vigie/internal/banking"
	vigie "github.com/vigie-dev/vigie/internal/record"
)

// setAside reads the dead letters: those of orders that paiement could not
// decide, and one of each poison record for each group that read it.
func (j *judgement) setAside() {
	due := map[string]record{} // group and position of the poison → the poison
	for p, r := range j.Poison {
		for _, group := range readersOf(p.Topic) {
			due[group+" "+p.String()] = r
		}
	}
	seen := map[string]bool{}
	for _, topic := range []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ} {
		for _, r := range j.Records[topic] {
			origin, err := originOf(r)
			if err != nil {
				j.violated("a dead letter cannot be read: %v", err)
				continue
			}
			group := r.Headers["consumerGroup"]
			name := group + " " + origin.String()
			if seen[name] {
				j.Republished++
				continue
			}
			seen[name] = true
			j.letter(due, name, group, origin, r)
		}
	}
	for name := range due {
		j.violated("poison: no dead letter of %s", name)
	}
}

// letter finds what a dead letter is about.
func (j *judgement) letter(due map[string]record, name, group string, origin position, r record) {
	if poison, ok := due[name]; ok {
		delete(due, name)
		if poison.Key != r.Key || !bytes.Equal(poison.Value, r.Value) || (poison.Value == nil) != (r.Value == nil) {
			j.violated("poison: the dead letter of %s has key %q and value %q", name, r.Key, r.Value)
		}
		return
	}
	o := j.orders[r.Key]
	if o == nil || group != banking.GroupPaiement || origin.Topic != banking.TopicOrdersCreated {
		j.violated("%s: an unexplained dead letter of %s: %s", r.Key, name, r.Headers["errorMessage"])
		return
	}
	if r.Headers["originalEventId"] != o.event.EventID {
		j.violated("%s: the dead letter is of event %s, created as %s", r.Key, r.Headers["originalEventId"], o.event.EventID)
	}
	o.letters[origin.String()] = true
}

// readersOf returns the groups that set aside a topic's records.
func readersOf(topic string) []string {
	if topic == banking.TopicOrdersCreated {
		return []string{banking.GroupPaiement, banking.GroupSuivi}
	}
	return []string{banking.GroupAnalyseur, banking.GroupSuivi}
}

// originOf reads where a dead letter came from.
func originOf(r record) (position, error) {
	origin, err := vigie.ParsePlace(r.Headers["originalTopic"] + "/" + r.Headers["originalPartition"] + "/" + r.Headers["originalOffset"])
	if err != nil {
		return origin, fmt.Errorf("%s: origin: %w", r.position, err)
	}
	return origin, nil
}
