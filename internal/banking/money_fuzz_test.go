package banking

import (
	"errors"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ratMoney is the oracle: the same contract by rational arithmetic.
func ratMoney(s string) (Money, error) {
	if !regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`).MatchString(s) || strings.HasSuffix(s, "\n") {
		return 0, ErrNotANumber
	}
	r, _ := new(big.Rat).SetString(s)
	r.Mul(r, big.NewRat(100, 1))
	switch {
	case !r.IsInt():
		return 0, ErrTooManyDecimals
	case !r.Num().IsInt64():
		return 0, ErrOutOfRange
	}
	return Money(r.Num().Int64()), nil
}

func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"1.50e1", "-0.05", "0.001", "1e999999999", "01", "92233720368547758.08", "1e-3", "0e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseMoney(s)
		if err == nil {
			if back, err := ParseMoney(got.String()); back != got || err != nil {
				t.Errorf("%q: %d does not survive String: %d, %v", s, int64(got), int64(back), err)
			}
		}
		if at := strings.LastIndexAny(s, "eE"); at >= 0 {
			if n, e := strconv.Atoi(s[at+1:]); e != nil || n > 1000 || n < -1000 {
				return // too large for the oracle
			}
		}
		want, wantErr := ratMoney(s)
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("ParseMoney(%q) = %d, %v; the oracle says %d, %v", s, int64(got), err, int64(want), wantErr)
		}
	})
}
