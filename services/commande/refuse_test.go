package commande

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/vigie-dev/vigie/internal/banking"
)

func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func TestOrdersThatAreRefused(t *testing.T) {
	items := func(n int) string { return `["i"` + strings.Repeat(`,"i"`, n-1) + `]` }
	tests := []struct{ name, body, field string }{
		{"no body", "", ""},
		{"only space", " \n", ""},
		{"no JSON", `{"userId":"user-secret"`, ""},
		{"two values", `{"userId":"user-secret","amount":1} {}`, ""},
		{"an array", `[{"userId":"user-secret","amount":1}]`, ""},
		{"null", `null`, ""},
		{"not UTF-8", "{\"userId\":\"user-secret\xff\",\"amount\":1}", ""},
		{"half a pair", `{"userId":"user-secret\ud800","amount":1}`, ""},
		{"no user", `{"amount":1234.56}`, "userId"},
		{"null user", `{"userId":null,"amount":1234.56}`, "userId"},
		{"empty user", `{"userId":"","amount":1234.56}`, "userId"},
		{"blank user", `{"userId":" \t","amount":1234.56}`, "userId"},
		{"numeric user", `{"userId":1234.56,"amount":1}`, "userId"},
		{"long user", `{"userId":"` + strings.Repeat("é", 129) + `","amount":1}`, "userId"},
		{"control in user", `{"userId":"user-secret\u0000","amount":1}`, "userId"},
		{"user twice", `{"userId":"user-secret","userId":"user-secret","amount":1}`, "userId"},
		{"no amount", `{"userId":"user-secret"}`, "amount"},
		{"null amount", `{"userId":"user-secret","amount":null}`, "amount"},
		{"amount in text", `{"userId":"user-secret","amount":"1234.56"}`, "amount"},
		{"zero", `{"userId":"user-secret","amount":0.00}`, "amount"},
		{"negative", `{"userId":"user-secret","amount":-1234.56}`, "amount"},
		{"three decimals", `{"userId":"user-secret","amount":1234.561}`, "amount"},
		{"too much", `{"userId":"user-secret","amount":1000000.01}`, "amount"},
		{"far too much", `{"userId":"user-secret","amount":1e999999999}`, "amount"},
		{"items in text", `{"userId":"user-secret","amount":1,"items":"secret tea"}`, "items"},
		{"numeric item", `{"userId":"user-secret","amount":1,"items":["secret tea",1234.56]}`, "items"},
		{"101 items", `{"userId":"user-secret","amount":1,"items":` + items(101) + `}`, "items"},
	}
	s := openShop(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := s.post(t.Context(), test.body)
			var problem struct{ Title, Detail, Field, Problem, Accepted string }
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			if problem.Field != test.field || problem.Problem == "" || problem.Accepted == "" || !strings.Contains(problem.Detail, problem.Accepted) {
				t.Errorf("problem %+v, want it to name %q, what was wrong and what is accepted", problem, test.field)
			}
			for _, value := range []string{"user-secret", "1234.5", "secret tea", "999999999", "éé"} {
				if strings.Contains(w.Body.String(), value) {
					t.Errorf("the problem repeats %q: %s", value, w.Body)
				}
			}
		})
	}
	s.counts(t, 0, 0, map[int]int{400: len(tests)})
	s.discreet(t, "user-secret", "1234.5", "secret tea")
	if len(s.broker.sent) != 0 {
		t.Errorf("%d refused orders are published", len(s.broker.sent))
	}
	if w := s.post(t.Context(), order); !strings.Contains(w.Body.String(), `"order-1"`) {
		t.Errorf("refused orders take ids: %s", w.Body)
	}
}

func TestOrdersAtTheLimitsAreTaken(t *testing.T) {
	s := openShop(t)
	for _, body := range []string{
		`{"userId":"` + strings.Repeat("é", 128) + `","amount":1000000.00}`,
		` {"items":null,"amount":1.500,"userId":"u"} `,
		`{"userId":"u","amount":1,"items":["i"` + strings.Repeat(`,"i"`, 99) + `]}`,
	} {
		if w := s.post(t.Context(), body); w.Code != http.StatusCreated {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestTheBodyIsBounded(t *testing.T) {
	fill := func(size int) string {
		body := `{"userId":"u","amount":1,"note":` + quoted("")
		return body[:len(body)-1] + strings.Repeat("x", size-len(body)-1) + `"}`
	}
	for size, status := range map[int]int{64 << 10: http.StatusCreated, 64<<10 + 1: http.StatusRequestEntityTooLarge} {
		s := openShop(t)
		body := fill(size)
		if len(body) != size || !utf8.ValidString(body) || !json.Valid([]byte(body)) {
			t.Fatalf("the test's body has %d bytes, want %d", len(body), size)
		}
		w := s.post(t.Context(), body)
		if w.Code != status {
			t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
		}
		taken := 0
		if status == http.StatusCreated {
			taken = 1
		}
		s.counts(t, taken, int64(100*taken), map[int]int{status: 1})
		if taken == 0 && (!strings.Contains(w.Body.String(), "65536") || w.Header().Get("Content-Type") != "application/problem+json") {
			t.Errorf("%d bytes: %s", size, w.Body)
		}
	}
	if banking.MaxBody != 64<<10 {
		t.Errorf("the bound is %d bytes", banking.MaxBody)
	}
}

func TestABodyThatBreaksOff(t *testing.T) {
	s := openShop(t)
	r := httptest.NewRequest(http.MethodPost, "/orders", iotest.ErrReader(errors.New("secret fault")))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.counts(t, 0, 0, map[int]int{400: 1})
}
