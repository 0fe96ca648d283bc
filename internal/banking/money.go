package banking

import (
	"fmt"
	"math"
	"strconv"
)

// Money is an exact amount of euros, counted in cents.
//
// Its JSON form is a number with exactly two decimals (1050 is 10.50).
type Money int64

// ParseMoney reads a JSON number literal (RFC 8259, section 6) as euros.
//
// It is exact and looks at the value, not at the spelling: "1.500", "15e-1" and
// "1.5" are all 150 cents. Time is linear in len(s) and no memory is taken,
// whatever the exponent. Errors satisfy errors.Is with ErrNotANumber,
// ErrTooManyDecimals or ErrOutOfRange, tested in this order.
func ParseMoney(s string) (Money, error) {
	l, ok := scanLiteral(s)
	if !ok {
		return 0, fmt.Errorf("parse money: %w", ErrNotANumber)
	}
	cents, err := l.cents()
	if err != nil {
		return 0, fmt.Errorf("parse money: %w", err)
	}
	return cents, nil
}

// String returns the canonical form: a JSON number with exactly two decimals.
func (m Money) String() string {
	return string(m.append(make([]byte, 0, 24)))
}

// MarshalJSON writes the canonical form as a JSON number. It never fails.
func (m Money) MarshalJSON() ([]byte, error) {
	return m.append(make([]byte, 0, 24)), nil
}

// UnmarshalJSON reads what ParseMoney accepts, with the same errors.
// It refuses null, as an absent amount must not pass for zero.
func (m *Money) UnmarshalJSON(data []byte) error {
	parsed, err := ParseMoney(string(data))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// Euros returns the nearest float64 in euros. It is for histograms and gauges
// only: nothing may be decided, stored, sent or added up with it.
func (m Money) Euros() float64 { return float64(m) / 100 }

func (m Money) append(b []byte) []byte {
	cents := uint64(m) //nolint:gosec // two's complement is what is wanted
	if m < 0 {
		b = append(b, '-')
		cents = -cents // two's complement: right for math.MinInt64 too
	}
	b = strconv.AppendUint(b, cents/100, 10)
	return append(b, '.', byte('0'+cents/10%10), byte('0'+cents%10))
}

// signed applies a sign to a magnitude in cents, if the result fits.
func signed(magnitude uint64, negative bool) (Money, error) {
	switch {
	case !negative && magnitude <= math.MaxInt64:
		return Money(magnitude), nil
	case negative && magnitude <= -math.MinInt64:
		return Money(-magnitude), nil //nolint:gosec // the case before has checked the range
	default:
		return 0, ErrOutOfRange
	}
}
