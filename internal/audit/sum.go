package audit

import (
	"errors"
	"math/big"
	"math/bits"
	"strings"

	"github.com/vigie-dev/vigie/internal/banking"
)

// Sum is how many, and how much.
type Sum struct {
	Count  int64 `json:"count"`
	Amount Cents `json:"amount"` // euros
}

// Plus adds one of that amount.
func (s Sum) Plus(amount banking.Money) Sum { return s.And(Sum{1, CentsOf(amount)}) }

// And adds both up.
func (s Sum) And(t Sum) Sum { return Sum{s.Count + t.Count, s.Amount.plus(t.Amount)} }

func (s Sum) less(t Sum) Sum { return Sum{s.Count - t.Count, s.Amount.plus(t.Amount.negative())} }

// fields are those of a fact.
func (s *Sum) fields(c *codec) {
	number(c, &s.Count)
	s.Amount.fields(c)
}

// Cents is an exact sum of amounts, in cents. It has 128 bits, so that no log
// is long enough, and no amount large enough, to overflow it. It can be compared
// with ==; its zero value is zero.
//
// Its JSON form is that of an amount: euros, with two decimals.
type Cents struct {
	high int64 // the sign, and the bits above those of low
	low  uint64
}

// CentsOf returns an amount as a sum.
func CentsOf(m banking.Money) Cents {
	return Cents{high: int64(m) >> 63, low: uint64(m)} //nolint:gosec // two's complement is what is wanted
}

// Money returns the sum as an amount, and whether it is one.
func (c Cents) Money() (banking.Money, bool) {
	m := banking.Money(c.low) //nolint:gosec // compared below
	return m, CentsOf(m) == c
}

func (c Cents) plus(d Cents) Cents {
	low, carry := bits.Add64(c.low, d.low, 0)
	return Cents{c.high + d.high + int64(carry), low} //nolint:gosec // the carry is 0 or 1
}

func (c *Cents) fields(to *codec) {
	number(to, &c.high)
	to.digest(&c.low)
}

// negative is two's complement's.
func (c Cents) negative() Cents { return Cents{^c.high, ^c.low}.plus(Cents{low: 1}) }

func (c Cents) isNegative() bool { return c.high < 0 }

// apart is how far two sums are from each other.
func (c Cents) apart(d Cents) Cents {
	if c = c.plus(d.negative()); c.isNegative() {
		return c.negative()
	}
	return c
}

// String writes euros, with two decimals.
func (c Cents) String() string {
	sign, magnitude := "", c
	if c.high < 0 {
		sign, magnitude = "-", c.negative()
	}
	n := new(big.Int).SetUint64(uint64(magnitude.high)) //nolint:gosec // not negative, but for the least sum, whose bits are right
	digits := n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(magnitude.low)).String()
	if len(digits) < 3 {
		digits = strings.Repeat("0", 3-len(digits)) + digits
	}
	return sign + digits[:len(digits)-2] + "." + digits[len(digits)-2:]
}

// MarshalJSON writes euros as a number. It never fails.
func (c Cents) MarshalJSON() ([]byte, error) { return []byte(c.String()), nil }

// errNotCents: a text is not a sum as it is written here.
var errNotCents = errors.New("not a sum of euros with two decimals")

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Cents) UnmarshalJSON(data []byte) error {
	n, ok := new(big.Int).SetString(strings.Replace(string(data), ".", "", 1), 10)
	if !ok || n.BitLen() > 127 {
		return errNotCents
	}
	word := new(big.Int).And(n, new(big.Int).SetUint64(1<<64-1)) // two's complement, for a negative one too
	read := Cents{new(big.Int).Rsh(n, 64).Int64(), word.Uint64()}
	if read.String() != string(data) {
		return errNotCents
	}
	*c = read
	return nil
}
