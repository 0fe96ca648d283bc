package banking

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

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
