package banking

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestParseMoney(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("0", 100_000)
	tests := map[string]struct {
		in   string
		want Money
		err  error
	}{
		"whole":                      {in: "12", want: 1200},
		"one decimal":                {in: "100.5", want: 10050},
		"two decimals":               {in: "0.07", want: 7},
		"trailing zeros":             {in: "1.500", want: 150},
		"exponent":                   {in: "1e2", want: 10000},
		"exponent after decimals":    {in: "1.50e1", want: 1500},
		"capital exponent with plus": {in: "1.5E+1", want: 1500},
		"negative exponent":          {in: "150e-2", want: 150},
		"exponent saves decimals":    {in: "0.001e1", want: 1},
		"zero":                       {in: "0"},
		"negative zero":              {in: "-0.00"},
		"zero, huge exponent":        {in: "0.0e999999999999999999999"},
		"zero, tiny exponent":        {in: "0e-999999999999999999999"},
		"negative cents":             {in: "-0.05", want: -5},
		"negative":                   {in: "-12.34", want: -1234},
		"largest":                    {in: "92233720368547758.07", want: math.MaxInt64},
		"smallest":                   {in: "-92233720368547758.08", want: math.MinInt64},
		"digits balanced by exponent": {
			in: "0." + zeros + "1e100001", want: 100,
		},
		"zeros balanced by exponent": {in: "1" + zeros + "e-100000", want: 100},

		"above largest":            {in: "92233720368547758.08", err: ErrOutOfRange},
		"below smallest":           {in: "-92233720368547758.09", err: ErrOutOfRange},
		"twenty digits":            {in: "999999999999999999.99", err: ErrOutOfRange},
		"two to the 64th cents":    {in: "184467440737095516.16", err: ErrOutOfRange},
		"wraps to one cent":        {in: "18446744073709551617e-2", err: ErrOutOfRange},
		"huge exponent":            {in: "1e999999999", err: ErrOutOfRange},
		"exponent beyond 64 bits":  {in: "-1e99999999999999999999999999", err: ErrOutOfRange},
		"exponent wraps 64 bits":   {in: "1e18446744073709551616", err: ErrOutOfRange},
		"many digits":              {in: "1" + zeros, err: ErrOutOfRange},
		"three decimals":           {in: "0.001", err: ErrTooManyDecimals},
		"tiny exponent":            {in: "1e-999999999", err: ErrTooManyDecimals},
		"tiny exponent, 64 bits":   {in: "1e-18446744073709551616", err: ErrTooManyDecimals},
		"large and three decimals": {in: "99999999999999999999.001", err: ErrTooManyDecimals},
		"empty":                    {in: "", err: ErrNotANumber},
		"minus":                    {in: "-", err: ErrNotANumber},
		"leading zero":             {in: "01", err: ErrNotANumber},
		"negative leading zero":    {in: "-01", err: ErrNotANumber},
		"plus":                     {in: "+1", err: ErrNotANumber},
		"no whole part":            {in: ".5", err: ErrNotANumber},
		"no decimals":              {in: "1.", err: ErrNotANumber},
		"no decimals, exponent":    {in: "1.e1", err: ErrNotANumber},
		"no exponent":              {in: "1e", err: ErrNotANumber},
		"no exponent digits":       {in: "1e+", err: ErrNotANumber},
		"exponent with decimals":   {in: "1e1.0", err: ErrNotANumber},
		"not a number":             {in: "NaN", err: ErrNotANumber},
		"infinity":                 {in: "Infinity", err: ErrNotANumber},
		"hexadecimal":              {in: "0x10", err: ErrNotANumber},
		"underscore":               {in: "1_000", err: ErrNotANumber},
		"comma":                    {in: "1,5", err: ErrNotANumber},
		"two points":               {in: "1.2.3", err: ErrNotANumber},
		"space before":             {in: " 1", err: ErrNotANumber},
		"space after":              {in: "1 ", err: ErrNotANumber},
		"string":                   {in: `"1"`, err: ErrNotANumber},
		"other digits":             {in: "١", err: ErrNotANumber},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseMoney(tt.in)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("ParseMoney(%.40q) = %d, %v; want %d, %v", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseMoneyTakesNoMemory(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseMoney("123456.78e+0") }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestMoneyString(t *testing.T) {
	t.Parallel()
	for m, want := range map[Money]string{
		0: "0.00", 5: "0.05", 10050: "100.50", -5: "-0.05", -100: "-1.00",
		math.MaxInt64: "92233720368547758.07", math.MinInt64: "-92233720368547758.08",
	} {
		if got := m.String(); got != want {
			t.Errorf("Money(%d).String() = %q, want %q", int64(m), got, want)
		}
		if back, err := ParseMoney(want); back != m || err != nil {
			t.Errorf("ParseMoney(%q) = %d, %v; want %d", want, back, err, int64(m))
		}
	}
}

func TestMoneyJSON(t *testing.T) {
	t.Parallel()
	type document struct {
		A Money `json:"a"`
	}
	got, err := json.Marshal(document{-5})
	if err != nil || string(got) != `{"a":-0.05}` {
		t.Errorf("marshal = %s, %v", got, err)
	}
	for in, want := range map[string]error{
		`{"a":1.5e1}`: nil, `{"a":"1"}`: ErrNotANumber, `{"a":null}`: ErrNotANumber,
		`{"a":0.001}`: ErrTooManyDecimals, `{"a":1e99}`: ErrOutOfRange,
	} {
		d := document{A: 7}
		err := json.Unmarshal([]byte(in), &d)
		if !errors.Is(err, want) {
			t.Errorf("unmarshal %s: %v, want %v", in, err, want)
		}
		if want == nil && d.A != 1500 || want != nil && d.A != 7 {
			t.Errorf("unmarshal %s gave %d", in, int64(d.A))
		}
	}
}

func TestMoneyEuros(t *testing.T) {
	t.Parallel()
	if got := Money(-1050).Euros(); got != -10.5 {
		t.Errorf("Euros() = %v, want -10.5", got)
	}
}

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
