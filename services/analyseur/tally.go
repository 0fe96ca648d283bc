package analyseur

import (
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// transaction is a decided payment.
type transaction struct {
	OrderID     string
	EventID     string
	UserID      string
	Status      string
	Amount      banking.Money
	ProcessedAt time.Time
}

// sum is how many payments, and how much.
type sum struct {
	count  int64
	amount banking.Money
}

func (s sum) plus(amount banking.Money) sum { return sum{s.count + 1, s.amount + amount} }

// tally is what a batch adds to the statistics.
type tally struct {
	statuses map[string]sum
	minutes  map[int64]sum
}

func newTally() tally { return tally{statuses: map[string]sum{}, minutes: map[int64]sum{}} }

// add counts one transaction.
func (t tally) add(tx transaction) {
	t.statuses[tx.Status] = t.statuses[tx.Status].plus(tx.Amount)
	m := minuteOf(tx.ProcessedAt)
	t.minutes[m] = t.minutes[m].plus(tx.Amount)
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// windowStart is the first minute of the last hour: the 60 minutes that end
// with the one under way.
func windowStart(now time.Time) int64 { return minuteOf(now) - 59 }

// statistics are all sums at one moment.
type statistics struct {
	authorized, rejected, lastHour sum
}

// all is the sum over both statuses.
func (s statistics) all() sum {
	return sum{s.authorized.count + s.rejected.count, s.authorized.amount + s.rejected.amount}
}

// average is the mean amount in cents, rounded half up; 0 where there is none.
func (s statistics) average() banking.Money {
	all := s.all()
	if all.count == 0 {
		return 0
	}
	n := banking.Money(all.count)
	return (all.amount + n/2) / n
}

// authorizationRate is the share of authorised payments in hundredths of a
// percent, rounded half up; 0 where nothing was decided.
func (s statistics) authorizationRate() int64 {
	all := s.all().count
	if all == 0 {
		return 0
	}
	return (s.authorized.count*10_000 + all/2) / all
}
