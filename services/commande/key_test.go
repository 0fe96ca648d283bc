package commande

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
)

func TestKeysAreReadAsTheDraftHasThemOrBare(t *testing.T) {
	same := hash("8e03978e-40d5-43dd-bc93-6894a57f9324")
	for name, tt := range map[string]struct {
		values []string
		want   string
		err    error
	}{
		"none":                {nil, "", nil},
		"a string":            {[]string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`}, same, nil},
		"bare":                {[]string{`8e03978e-40d5-43dd-bc93-6894a57f9324`}, same, nil},
		"spaces around":       {[]string{" \t8e03978e-40d5-43dd-bc93-6894a57f9324 "}, same, nil},
		"escapes":             {[]string{`"a\"b\\c"`}, hash(`a"b\c`), nil},
		"the longest":         {[]string{strings.Repeat("k", 255)}, hash(strings.Repeat("k", 255)), nil},
		"too long":            {[]string{strings.Repeat("k", 256)}, "", errKey},
		"empty":               {[]string{""}, "", errKey},
		"an empty string":     {[]string{`""`}, "", errKey},
		"two":                 {[]string{"a", "a"}, "", errKey},
		"no end":              {[]string{`"abc`}, "", errKey},
		"one quote":           {[]string{`"`}, "", errKey},
		"a quote inside":      {[]string{`"a"b"`}, "", errKey},
		"an unknown escape":   {[]string{`"a\b"`}, "", errKey},
		"an escape cut short": {[]string{`"a\"`}, "", errKey},
		"no ASCII":            {[]string{"clé"}, "", errKey},
		"a control character": {[]string{"a\x7fb"}, "", errKey},
	} {
		header := http.Header{}
		for _, v := range tt.values {
			header.Add(headerKey, v)
		}
		if got, err := readKey(header); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, tt.want, tt.err)
		}
	}
}

func TestFingerprintsTellRequestsApart(t *testing.T) {
	seen := map[string]banking.OrderRequest{}
	for _, request := range []banking.OrderRequest{
		{UserID: "u", Amount: 100}, {UserID: "v", Amount: 100}, {UserID: "u", Amount: 101},
		{UserID: "u", Amount: 100, Items: []string{"a"}}, {UserID: "u", Amount: 100, Items: []string{"a", "b"}},
		{UserID: "u", Amount: 100, Items: []string{`a","b`}}, {UserID: "u", Amount: 100, Items: []string{"b", "a"}},
		{UserID: "u", Amount: 100, Items: []string{""}}, {UserID: `u","100`, Amount: 100},
	} {
		f := fingerprint(request)
		if other, twice := seen[f]; twice {
			t.Errorf("%+v and %+v are taken for the same", request, other)
		}
		seen[f] = request
	}
	if a, b := fingerprint(banking.OrderRequest{UserID: "u", Items: []string{}}), fingerprint(banking.OrderRequest{UserID: "u"}); a != b {
		t.Error("no items are told from an empty list of them")
	}
}

func FuzzReadKey(f *testing.F) {
	for _, seed := range []string{`"a"`, "a", `"a\"b"`, "\x00", `"\`, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := readKey(http.Header{headerKey: {value}})
		if (err == nil) != (len(got) == 64) || strings.Contains(value, got) && got != "" && len(value) != 64 {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	})
}
