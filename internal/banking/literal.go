package banking

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
