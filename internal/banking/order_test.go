package banking

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestOrderNumbers(t *testing.T) {
	for id, want := range map[string]int64{"order-1": 1, "order-9223372036854775807": math.MaxInt64, "order-01": 1, "order--1": -1} {
		if got, ok := OrderNumber(id); !ok || got != want {
			t.Errorf("%s: %d, %v", id, got, ok)
		}
	}
	for _, id := range []string{"", "order-", "1", "order-1a", "order-9223372036854775808", "probe-1-A"} {
		if got, ok := OrderNumber(id); ok {
			t.Errorf("%q: %d", id, got)
		}
	}
	if got := OrderID(42); got != "order-42" {
		t.Error(got)
	}
}

func TestParseOrderRequestAccepts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", MaxUserIDLength)
	item := strings.Repeat("漢", 300)
	full := make([]string, MaxItems)
	for i := range full {
		full[i] = "x"
	}
	tests := map[string]struct {
		body string
		want OrderRequest
	}{
		"all":            {`{"userId":"u","amount":100.5,"items":["a","b"]}`, OrderRequest{"u", 10050, []string{"a", "b"}}},
		"no items":       {`{"userId":"u","amount":1}`, OrderRequest{"u", 100, []string{}}},
		"null items":     {`{"userId":"u","amount":1,"items":null}`, OrderRequest{"u", 100, []string{}}},
		"empty items":    {`{"userId":"u","amount":1,"items":[ ]}`, OrderRequest{"u", 100, []string{}}},
		"largest amount": {`{"userId":"u","amount":1e6}`, OrderRequest{"u", MaxAmount, []string{}}},
		"least amount":   {`{"userId":"u","amount":0.010}`, OrderRequest{"u", 1, []string{}}},
		"white space":    {" \t\r\n{ \"amount\" : 2\r\n,\r\n\"userId\" :\t\"u\" , \"items\" : [ \"a\" , \"b\" ] } \n", OrderRequest{"u", 200, []string{"a", "b"}}},
		"unknown fields": {`{"x":{"userId":"no","amount":[1,{"items":"]}"}]},"userId":"u","y":"\\\"}","amount":1,"z":[],"x":1,"n":-1e5}`, OrderRequest{"u", 100, []string{}}},
		"other case":     {`{"USERID":"no","userId":"u","Amount":9,"amount":1,"Items":["no"]}`, OrderRequest{"u", 100, []string{}}},
		"escaped name":   {`{"user\u0049d":"u","amount":1}`, OrderRequest{"u", 100, []string{}}},
		"pair, escapes":  {`{"userId":"\ud83d\uDE00\"\\ud800","amount":1,"items":["\n","[","😀"]}`, OrderRequest{"😀\"\\ud800", 100, []string{"\n", "[", "😀"}}},
		"U+FFFD itself":  {"{\"userId\":\"\uFFFD\\ufffd\",\"amount\":1}", OrderRequest{"\uFFFD\uFFFD", 100, []string{}}},
		"longest id":     {`{"userId":"` + long + `","amount":1}`, OrderRequest{long, 100, []string{}}},
		"longest item":   {`{"userId":"u","amount":1,"items":["` + item + `",""]}`, OrderRequest{"u", 100, []string{item, ""}}},
		"most items":     {`{"userId":"u","amount":1,"items":["x"` + strings.Repeat(`,"x"`, MaxItems-1) + `]}`, OrderRequest{"u", 100, full}},
		"largest body":   {pad(`{"userId":"u","amount":1}`, MaxBody), OrderRequest{"u", 100, []string{}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseOrderRequest([]byte(tt.body))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func pad(s string, length int) string { return s + strings.Repeat(" ", length-len(s)) }

func TestParseOrderRequestRefuses(t *testing.T) {
	t.Parallel()
	user := func(json string) string { return `{"userId":` + json + `,"amount":1}` }
	amount := func(json string) string { return `{"userId":"u","amount":` + json + `}` }
	items := func(json string) string { return `{"userId":"u","amount":1,"items":` + json + `}` }
	tests := map[string]struct{ body, field, problem string }{
		"empty":               {"", "", "is empty"},
		"blank":               {" \n", "", "is empty"},
		"too large":           {pad(amount("1"), MaxBody+1), "", "is too large"},
		"not JSON":            {"{", "", "valid JSON"},
		"byte order mark":     {"\uFEFF" + amount("1"), "", "valid JSON"},
		"two values":          {amount("1") + "{}", "", "valid JSON"},
		"number that is none": {amount("01"), "", "valid JSON"},
		"deep":                {`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "", "valid JSON"},
		"array":               {"[]", "", "not a JSON object"},
		"null":                {"null", "", "not a JSON object"},
		"invalid UTF-8":       {user("\"secret\xff\""), "", "UTF-8"},
		"surrogate bytes":     {user("\"\xed\xa0\x80\""), "", "UTF-8"},
		"invalid elsewhere":   {"{\"x\":\"\xc0\"}", "", "UTF-8"},
		"lone high":           {user(`"\ud800"`), "", "surrogate"},
		"lone high, escape":   {user(`"\ud800\n12345"`), "", "surrogate"},
		"two high":            {user(`"\ud800\ud800"`), "", "surrogate"},
		"lone low":            {user(`"\uDC00\ud800"`), "", "surrogate"},
		"two low":             {user(`"\udc00\udc00"`), "", "surrogate"},
		"high, then no low":   {user(`"\ud800\ue000"`), "", "surrogate"},
		"lone in a name":      {`{"\udfff":1}`, "", "surrogate"},
		"lone after pair":     {user(`"\ud83d\ude00\ude00"`), "", "surrogate"},

		"userId missing":      {`{"amount":1}`, "userId", "missing"},
		"userId other case":   {`{"USERID":"u","amount":1}`, "userId", "missing"},
		"userId null":         {user(`null`), "userId", "missing"},
		"userId number":       {user(`1`), "userId", "not a string"},
		"userId empty":        {user(`""`), "userId", "empty"},
		"userId blank":        {user(`"\u00a0 \u2003"`), "userId", "white space"},
		"userId too long":     {user(`"` + strings.Repeat("é", MaxUserIDLength+1) + `"`), "userId", "too long"},
		"userId control":      {user(`"a\nb"`), "userId", "control"},
		"userId delete":       {user("\"a\x7f\""), "userId", "control"},
		"userId C1 control":   {user(`"a\u0085"`), "userId", "control"},
		"userId twice":        {`{"userId":"u","amount":1,"userId":"u"}`, "userId", "more than once"},
		"userId null twice":   {`{"userId":null,"amount":1,"userId":"u"}`, "userId", "more than once"},
		"userId twice, named": {`{"userId":"u","amount":1,"user\u0049d":"u"}`, "userId", "more than once"},

		"amount missing":      {`{"userId":"u"}`, "amount", "missing"},
		"amount null":         {amount("null"), "amount", "missing"},
		"amount string":       {amount(`"12"`), "amount", "not a number"},
		"amount object":       {amount(`{}`), "amount", "not a number"},
		"amount true":         {amount(`true`), "amount", "not a number"},
		"amount zero":         {amount("0.00"), "amount", "above zero"},
		"amount negative":     {amount("-1"), "amount", "above zero"},
		"amount hugely below": {amount("-1e999999999"), "amount", "above zero"},
		"amount too large":    {amount("1000000.01"), "amount", "too large"},
		"amount hugely large": {amount("1e999999999"), "amount", "too large"},
		"amount three places": {amount("1.001"), "amount", "two decimals"},
		"amount hugely small": {amount("1e-999999999"), "amount", "two decimals"},
		"amount twice":        {`{"userId":"u","amount":1,"amount":1}`, "amount", "more than once"},
		"items string":        {items(`"a"`), "items", "not an array"},
		"items object":        {items(`{}`), "items", "not an array"},
		"items of numbers":    {items(`["a",1]`), "items", "element 2 that is not a string"},
		"items with null":     {items(`[null]`), "items", "element 1 that is not a string"},
		"items nested":        {items(`[["a"]]`), "items", "element 1 that is not a string"},
		"items too many":      {items(`["x"` + strings.Repeat(`,"x"`, MaxItems) + `]`), "items", "too many"},
		"items twice":         {`{"userId":"u","amount":1,"items":[],"items":[]}`, "items", "more than once"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseOrderRequest([]byte(tt.body))
			var fe *FieldError
			if !errors.As(err, &fe) {
				t.Fatalf("got %+v, %v; want a *FieldError", got, err)
			}
			if fe.Field != tt.field || !strings.Contains(fe.Problem, tt.problem) || fe.Accepted == "" {
				t.Errorf("got %+v; want field %q, problem %q", fe, tt.field, tt.problem)
			}
			if !reflect.DeepEqual(got, OrderRequest{}) {
				t.Errorf("a refused request came back as %+v", got)
			}
		})
	}
}

func TestErrorsRepeatNoValue(t *testing.T) {
	t.Parallel()
	bodies := []string{
		`{"userId":"7319731973","amount":0}`, `{"userId":"7319\u0000","amount":1}`, `{"userId":7319,"amount":1}`,
		`{"userId":"u","amount":-7319}`, `{"userId":"u","amount":7319e99}`, `{"userId":"u","amount":0.7319}`,
		`{"userId":"u","amount":"7319"}`, `{"userId":"u","amount":1,"items":[7319]}`, `{"7319":`, `{"userId":"7319",7319}`,
		fmt.Sprintf(`{"userId":"u","amount":1,"items":["%s"]}`, strings.Repeat("7319", 9)+`\x`),
	}
	for _, body := range bodies {
		_, err := ParseOrderRequest([]byte(body))
		if err == nil || strings.Contains(err.Error(), "7319") {
			t.Errorf("%.60s: the error is %v", body, err)
		}
	}
	for _, value := range []string{
		`{"eventId":"e","orderId":"o","userId":"u","amount":1,"status":"7319","createdAt":"2026-01-01T00:00:00Z"}`,
		`{"eventId":"e","orderId":"o","userId":"u","amount":1,"status":"CREATED","createdAt":"7319-01"}`,
	} {
		if _, err := Decode(TypeOrderCreated, []byte(value)); err == nil || strings.Contains(err.Error(), "7319") {
			t.Errorf("%s: the error is %v", value, err)
		}
	}
	if _, err := Decode("7319", []byte("{}")); err == nil || strings.Contains(err.Error(), "7319") {
		t.Errorf("unknown type: the error is %v", err)
	}
}

func TestFieldErrorIsASentence(t *testing.T) {
	t.Parallel()
	_, err := ParseOrderRequest([]byte(`{"userId":"u","amount":0}`))
	if want := "amount is not above zero; accepted is a number above 0, at most 1000000.00, with at most two decimals"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = ParseOrderRequest([]byte(`[]`))
	if want := "the document is not a JSON object; accepted is exactly one JSON object in UTF-8"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzParseOrderRequest(f *testing.F) {
	for _, body := range []string{
		`{"userId":"u","amount":100.5,"items":["a","b"]}`, `{"userId":"\ud83d\ude00","amount":1e2,"items":null}`,
		`{"userId":"\ud800","amount":1}`, `{"USERID":"x","x":[{"a":"]"}],"userId":"u","amount":0.010}`,
		`{"userId":"u","userId":"v","amount":1}`, ` { "amount" : 1 , "user\u0049d" : "u" } `, "{\"userId\":\"\xff\"}",
		`{"userId":"u","amount":1,"items":["\\\"","\n"]}`, `[]`, `{"userId":"u","amount":-1e99}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseOrderRequest(body)
		var fe *FieldError
		if err != nil && !errors.As(err, &fe) {
			t.Fatalf("not a *FieldError: %v", err)
		}
		want, ok := referenceRequest(body)
		if ok && bytes.Contains(body, []byte(`\u`)) && err != nil && strings.Contains(err.Error(), "surrogate") {
			return // the reference cannot see these
		}
		if ok != (err == nil) || ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v; the reference says %+v, %v", got, err, want, ok)
		}
	})
}

// referenceRequest is the same contract by encoding/json's tokens and rational
// arithmetic, blind to lone surrogates only.
func referenceRequest(body []byte) (OrderRequest, bool) {
	r := OrderRequest{Items: []string{}}
	members, ok := referenceMembers(body)
	if !ok {
		return OrderRequest{}, false
	}
	// Into any first: encoding/json leaves a string as it is when it meets null.
	user, isText := members["userId"].(string)
	number, isNumber := members["amount"].(json.Number)
	if !isText || !isNumber || strings.TrimSpace(user) == "" || utf8.RuneCountInString(user) > 128 || strings.ContainsFunc(user, unicode.IsControl) {
		return OrderRequest{}, false
	}
	if len(number) > 5 && strings.ContainsAny(string(number), "eE") {
		// The oracle must not evaluate 1e999999999.
		m, err := ParseMoney(string(number))
		number = json.Number(m.String())
		if err != nil {
			return OrderRequest{}, false
		}
	}
	cents, _ := new(big.Rat).SetString(string(number))
	cents.Mul(cents, big.NewRat(100, 1))
	if !cents.IsInt() || cents.Sign() <= 0 || cents.Cmp(big.NewRat(100_000_000, 1)) > 0 {
		return OrderRequest{}, false
	}
	r.UserID, r.Amount = user, Money(cents.Num().Int64())
	if members["items"] == nil {
		return r, true
	}
	list, isList := members["items"].([]any)
	if !isList || len(list) > 100 {
		return OrderRequest{}, false
	}
	for _, element := range list {
		item, isText := element.(string)
		if !isText || utf8.RuneCountInString(item) > 256 {
			return OrderRequest{}, false
		}
		r.Items = append(r.Items, item)
	}
	return r, true
}

func referenceMembers(body []byte) (map[string]any, bool) {
	if len(body) > 64<<10 || !utf8.Valid(body) || !json.Valid(body) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if token, _ := d.Token(); token != json.Delim('{') {
		return nil, false
	}
	members := map[string]any{}
	for d.More() {
		name, _ := d.Token()
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		_, again := members[name.(string)]
		if again && (name == "userId" || name == "amount" || name == "items") {
			return nil, false
		}
		members[name.(string)] = value
	}
	return members, true
}
