package journeys

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

const second = micros(1e6)

// at is so many seconds after an order is accepted, which is due at 5.
func at(seconds float64) micros { return 1_000_000*second + micros(seconds*1e6) }

func TestAnOrderIsJudgedAsItStoodWhenItsTimeWasUp(t *testing.T) {
	having := func(p progress) func(place) progress { return func(place) progress { return p } }
	passed, perhaps, onTheWay := having(done), having(committing), having(ahead)
	for name, tt := range map[string]struct {
		order  order
		seen   micros
		passed func(place) progress
		want   Outcome
		stage  stage
	}{
		"on its way":                         {order{}, at(4), onTheWay, "", undecided},
		"undecided when its time is up":      {order{}, at(5), onTheWay, Late, undecided},
		"decided, not yet shown":             {order{decided: at(1)}, at(4), passed, "", invisible},
		"decided, and not shown in time":     {order{decided: at(1)}, at(5), passed, Late, invisible},
		"in time":                            {order{decided: at(1), visible: at(5)}, at(2), passed, InTime, ended},
		"shown too late":                     {order{decided: at(1), visible: at(5.1)}, at(6), passed, Late, ended},
		"shown too late, and known early":    {order{decided: at(1), visible: at(5.1)}, at(4), passed, "", ended},
		"among the dead letters":             {order{aside: at(1)}, at(4), passed, "", isAside},
		"there when its time is up":          {order{aside: at(1)}, at(5), passed, DeadLettered, isAside},
		"set aside after that":               {order{aside: at(6)}, at(7), passed, Late, isAside},
		"replayed and decided in time":       {order{aside: at(1), back: at(2), decided: at(3), visible: at(4)}, at(4), passed, InTime, ended},
		"replayed later":                     {order{aside: at(1), back: at(60), decided: at(61), visible: at(62)}, at(99), passed, DeadLettered, ended},
		"replayed in time, undecided":        {order{aside: at(1), back: at(2)}, at(9), onTheWay, Late, undecided},
		"purged in time":                     {order{aside: at(1), back: at(2), purged: at(2)}, at(3), passed, Purged, ended},
		"purged later":                       {order{aside: at(1), back: at(60), purged: at(60)}, at(99), passed, DeadLettered, ended},
		"purged and decided":                 {order{purged: at(1), decided: at(1), visible: at(2)}, at(2), passed, InTime, ended},
		"passed over":                        {order{}, at(4), passed, Lost, ended},
		"passed over perhaps":                {order{}, at(9), perhaps, "", undecided},
		"nothing is known of who decides":    {order{}, at(9), nil, "", undecided},
		"replayed, its copy not yet read":    {order{aside: at(1), back: at(3)}, at(3), passed, "", undecided},
		"replayed and passed over":           {order{aside: at(1), back: at(2)}, at(4), passed, Lost, ended},
		"contradictory":                      {order{contradictory: true}, at(1), onTheWay, Contradictory, undecided},
		"counted as late, and ended well":    {order{outcome: Late, decided: at(7), visible: at(8)}, at(9), passed, Late, ended},
		"counted as late, and passed over":   {order{outcome: Late}, at(9), passed, Late, undecided},
		"never seen to be accepted, decided": {order{accepted: -1, decided: at(1)}, at(9), passed, "", unknown},
	} {
		if tt.order.accepted++; tt.order.accepted == 1 {
			tt.order.accepted = at(0)
		}
		if tt.order.outcome != Late { // as it stands beside, once counted
			h := horizon{5 * second, tt.seen, tt.passed}
			if got := tt.order.judge(h); got != tt.want {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
			tt.order.outcome = tt.want
		}
		if got := tt.order.judge(horizon{5 * second, at(1000), passed}); got != tt.want && tt.want != "" {
			t.Errorf("%s: later it is %q, was %q", name, got, tt.want)
		}
		if got := tt.order.stage(); got != tt.stage {
			t.Errorf("%s: stage %d, want %d", name, got, tt.stage)
		}
	}
}

// created, paid and so on are facts about order-1.
func created(event string, amount banking.Money, offset int64) *fact {
	return &fact{kind: accepted, at: at(0), place: record.At(banking.TopicOrdersCreated, 1, offset), order: "order-1", event: event, amount: amount}
}

func paid(cause string, result int64, amount banking.Money) *fact {
	return &fact{kind: decided, at: at(1), place: record.At(banking.TopicPaymentsRejected, 2, 7), order: "order-1", event: cause, amount: amount, result: result}
}

// Whatever order the facts come in, what is known at the end is the same.
func TestFactsInAnyOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		facts         []*fact
		decided       bool // the order of event "a"
		contradictory map[string]bool
	}{
		"an order and its decision":     {[]*fact{created("a", 100, 1), paid("a", 5, 100)}, true, nil},
		"a decision without its cause":  {[]*fact{created("a", 100, 1), paid("", 5, 100)}, true, nil},
		"published again":               {[]*fact{created("a", 100, 1), paid("a", 5, 100), paid("a", 5, 100)}, true, nil},
		"another amount":                {[]*fact{created("a", 100, 1), paid("a", 5, 101)}, true, map[string]bool{"a": true}},
		"decided twice":                 {[]*fact{created("a", 100, 1), paid("a", 5, 100), paid("a", 6, 100)}, true, map[string]bool{"a": true}},
		"a decision on another's event": {[]*fact{created("a", 100, 1), paid("b", 5, 100)}, false, nil},
	} {
		permute(len(tt.facts), func(turn []int) {
			var n namesakes
			took := 0
			for _, i := range turn {
				f := *tt.facts[i]
				n.take(&f)
				if f.took != nil {
					took++
					if *f.took != second {
						t.Errorf("%s %v: took %d", name, turn, *f.took)
					}
				}
			}
			a := n.of("order-1", "a")
			if (a.decided != 0) != tt.decided || (took == 1) != tt.decided && name != "a decision without its cause" {
				t.Errorf("%s %v: decided %d, measured %d times", name, turn, a.decided, took)
			}
			for _, o := range n {
				if o.accepted != 0 && o.contradictory != tt.contradictory[o.event] {
					t.Errorf("%s %v: %+v", name, turn, o)
				}
			}
		})
	}
	// Of two orders of one id the second is the contradiction; they are of one partition.
	var n namesakes
	n.take(created("a", 100, 1))
	n.take(created("b", 100, 2))
	n.take(created("a", 100, 3))
	if a, b := n.of("order-1", "a"), n.of("order-1", "b"); a.contradictory || !b.contradictory || a.record != (place{2, 3}) {
		t.Errorf("%+v %+v", a, b)
	}
	n.take(created("a", 99, 4))
	if !n.of("order-1", "a").contradictory {
		t.Error("one event with two amounts")
	}
}

// permute gives every order of the first n numbers.
func permute(n int, give func([]int)) {
	turn := make([]int, n)
	for i := range turn {
		turn[i] = i
	}
	var from func(int)
	from = func(k int) {
		if k == n {
			give(turn)
			return
		}
		for i := k; i < n; i++ {
			turn[k], turn[i] = turn[i], turn[k]
			from(k + 1)
			turn[k], turn[i] = turn[i], turn[k]
		}
	}
	from(0)
}

func TestLettersOfAnOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		state letterState
		stage stage
	}{
		"one waits":                  {letterState{aside: 5, waiting: 1}, isAside},
		"one waits, one replayed":    {letterState{aside: 5, resolved: 6, waiting: 1}, isAside},
		"all replayed":               {letterState{aside: 5, resolved: 6}, undecided},
		"one purged, one waits":      {letterState{aside: 5, resolved: 6, waiting: 1, purged: 1}, isAside},
		"the last purged, by itself": {letterState{aside: 5, resolved: 6, purged: 1}, ended},
	} {
		o := order{accepted: 1}
		tt.state.on(&o)
		if got := o.stage(); got != tt.stage {
			t.Errorf("%s: stage %d, want %d", name, got, tt.stage)
		}
	}
}
