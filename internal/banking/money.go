package banking

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Why a text is no amount.
var (
	// ErrNotANumber says that the text is not a number literal of RFC 8259, section 6.
	ErrNotANumber = errors.New("not a JSON number")
	// ErrTooManyDecimals says that the value is not a whole number of cents.
	ErrTooManyDecimals = errors.New("more than two decimals")
	// ErrOutOfRange says that the value, in cents, does not fit in 64 bits.
	ErrOutOfRange = errors.New("amount out of range")
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

// maxExponent is where a literal's exponent saturates: far beyond what any number of
// digits in a string could balance, and small enough that ten times it still fits.
const maxExponent = 1 << 59

// literal is a JSON number taken apart but not evaluated.
type literal struct {
	negative bool
	mantissa string // digits, perhaps with one point among them
	decimals int64  // digits after that point
	exponent int64  // saturated at ±maxExponent
}

// scanLiteral takes s apart by the grammar of RFC 8259, section 6.
func scanLiteral(s string) (literal, bool) {
	var l literal
	if s != "" && s[0] == '-' {
		l.negative, s = true, s[1:]
	}
	whole := leadingDigits(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return l, false
	}
	end := whole
	if end < len(s) && s[end] == '.' {
		decimals := leadingDigits(s[end+1:])
		if decimals == 0 {
			return l, false
		}
		l.decimals = int64(decimals)
		end += 1 + decimals
	}
	l.mantissa = s[:end]
	if end == len(s) {
		return l, true
	}
	if s[end] != 'e' && s[end] != 'E' {
		return l, false
	}
	var ok bool
	l.exponent, ok = scanExponent(s[end+1:])
	return l, ok
}

// scanExponent reads an optional sign and digits, saturating.
func scanExponent(s string) (int64, bool) {
	negative := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative, s = s[0] == '-', s[1:]
	}
	if s == "" || leadingDigits(s) != len(s) {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		n = min(n*10+int64(s[i]-'0'), maxExponent)
	}
	if negative {
		n = -n
	}
	return n, true
}

func leadingDigits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// cents evaluates the literal times 100.
func (l literal) cents() (Money, error) {
	digits, dropped := trimZeros(l.mantissa)
	if digits == "" {
		return 0, nil // zero, whatever the exponent
	}
	// The value is digits (read without their point) times ten to the power.
	power := l.exponent - l.decimals + dropped + 2
	if power < 0 {
		return 0, ErrTooManyDecimals // the last digit is not zero
	}
	if int64(len(digits))+power > 20 { // 19 digits and perhaps the point
		return 0, ErrOutOfRange
	}
	var magnitude uint64
	count := power
	for i := range len(digits) {
		if digits[i] != '.' {
			magnitude = magnitude*10 + uint64(digits[i]-'0')
			count++
		}
	}
	if count > 19 { // below this, neither the loop above nor the next one overflows
		return 0, ErrOutOfRange
	}
	for range power {
		magnitude *= 10
	}
	return signed(magnitude, l.negative)
}

// trimZeros removes leading and trailing zeros, and a point that is left at an
// end. It reports how many trailing zero digits it removed.
func trimZeros(mantissa string) (digits string, dropped int64) {
	start, end := 0, len(mantissa)
	for start < end && (mantissa[start] == '0' || mantissa[start] == '.') {
		start++
	}
	for end > start && (mantissa[end-1] == '0' || mantissa[end-1] == '.') {
		if mantissa[end-1] == '0' {
			dropped++
		}
		end--
	}
	return mantissa[start:end], dropped
}
