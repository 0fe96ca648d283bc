package httpapi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

const (
	tokenA = "AAAAAAAAAAAAAAAA-_.~+/9=="
	tokenB = "BBBBBBBBBBBBBBBB"
)

// write puts a text into a file in one step, as a careful operator does.
func write(t *testing.T, path, text string) string {
	t.Helper()
	beside := path + ".new"
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func tokens(t *testing.T, text string) (*httpapi.Tokens, string) {
	t.Helper()
	path := write(t, filepath.Join(t.TempDir(), "tokens"), text)
	known, err := httpapi.OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	return known, path
}

// A client that has a service's file of tokens sends the first of them.
func TestTheFirstToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	for content, want := range map[string]string{
		"# ours\n\n 0123456789abcdef \nfedcba9876543210\n": "0123456789abcdef", "# none\n": "", "short\n": "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := httpapi.FirstToken(path)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, httpapi.ErrTokens) {
			t.Errorf("%q: %q, %v; want %q", content, got, err, want)
		}
	}
	if _, err := httpapi.FirstToken(path + ".none"); !errors.Is(err, httpapi.ErrTokens) {
		t.Errorf("no file: %v", err)
	}
}

func TestOnlyRequestsWithAKnownTokenAreAccepted(t *testing.T) {
	known, _ := tokens(t, "# of the shop\n"+tokenA+"\r\n\n  "+tokenB+"  \n")
	rt := own(httpapi.Config{Tokens: known, OpenAPI: []byte("openapi: 3.1.0\n")}, func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteJSON(w, http.StatusCreated, 1)
	})
	const missing, unknown = `Bearer realm="clerk"`, `Bearer realm="clerk", error="invalid_token"`
	for name, tt := range map[string]struct {
		header    []string
		challenge string // "" is accepted
	}{
		"the first":         {[]string{"Bearer " + tokenA}, ""},
		"the second":        {[]string{"Bearer " + tokenB}, ""},
		"the scheme's case": {[]string{"bEARER  " + tokenB}, ""},
		"none":              {nil, missing},
		"empty":             {[]string{""}, missing},
		"no token":          {[]string{"Bearer"}, missing},
		"another scheme":    {[]string{"Basic " + tokenA}, missing},
		"two headers":       {[]string{"Bearer " + tokenA, "Bearer " + tokenA}, missing},
		"another":           {[]string{"Bearer CCCCCCCCCCCCCCCC"}, unknown},
		"a part":            {[]string{"Bearer " + tokenB[1:]}, unknown},
		"more":              {[]string{"Bearer " + tokenB + "B"}, unknown},
		"the comment":       {[]string{"Bearer # of the shop"}, unknown},
		"both":              {[]string{"Bearer " + tokenA + " " + tokenB}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/things", strings.NewReader("{}"))
			r.Header["Authorization"] = tt.header
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			if got := w.Header().Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("WWW-Authenticate is %q, want %q", got, tt.challenge)
			}
			if tt.challenge == "" {
				if w.Code != http.StatusCreated {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			problem(t, w, httpapi.Unauthorized)
			for _, token := range []string{tokenA, tokenB, "CCCC"} {
				if strings.Contains(w.Body.String(), token) {
					t.Errorf("the answer repeats a token: %s", w.Body)
				}
			}
		})
	}
	for _, path := range []string{"/", "/favicon.ico", "/health", "/health/ready", "/metrics", "/openapi.yaml"} {
		if w := ask(rt, http.MethodGet, path); w.Code != http.StatusOK {
			t.Errorf("GET %s without a token: %d", path, w.Code)
		}
	}
	if w := ask(rt, http.MethodGet, "/things"); w.Code != http.StatusUnauthorized {
		t.Errorf("GET /things without a token: %d", w.Code)
	}
}

// A request without a token has none of its body read, and takes no slot.
func TestWithoutATokenNothingIsDone(t *testing.T) {
	known, _ := tokens(t, tokenA)
	rt := own(httpapi.Config{Tokens: known, MaxConcurrent: 1}, nobody(t))
	body := &counted{Reader: strings.NewReader("a thing")}
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/things", body))
	if w.Code != http.StatusUnauthorized || body.reads != 0 {
		t.Errorf("%d, the body was read %d times", w.Code, body.reads)
	}
}

type counted struct {
	io.Reader
	reads int
}

func (c *counted) Read(b []byte) (int, error) { c.reads++; return c.Reader.Read(b) }

func TestFilesOfTokensThatCannotBeUsed(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"comments alone":    "# none yet\n\n",
		"short":             "0123456789abcde",
		"long":              strings.Repeat("x", 513),
		"a blank in it":     tokenA + " " + tokenB,
		"beyond ASCII":      strings.Repeat("é", 16),
		"= in the middle":   "AAAAAAAA=AAAAAAAA",
		"a thousand and 1":  strings.Repeat(tokenA+"\n", 1001),
		"more than 64 KiB":  strings.Repeat("# a comment that says nothing at all\n", 2000) + tokenA,
		"good and then bad": tokenA + "\n" + "?" + tokenB + "\n",
	} {
		path := write(t, filepath.Join(t.TempDir(), "tokens"), text)
		_, err := httpapi.OpenTokens(path)
		if !errors.Is(err, httpapi.ErrTokens) {
			t.Errorf("%s: %v, want ErrTokens", name, err)
		} else if strings.Contains(err.Error(), "AAAA") || strings.Contains(err.Error(), "BBBB") || strings.Contains(err.Error(), "0123") {
			t.Errorf("%s: the error repeats the content of the file: %v", name, err)
		}
	}
	if _, err := httpapi.OpenTokens(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, httpapi.ErrTokens) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// tail is a log whose lines can be waited for.
type tail chan string

func (l tail) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

func (l tail) wait(t *testing.T, want string) {
	t.Helper()
	select {
	case line := <-l:
		if !strings.Contains(line, want) {
			t.Errorf("the log says %s, want %q", line, want)
		}
		for _, token := range []string{tokenA, tokenB} {
			if strings.Contains(line, token) {
				t.Errorf("the log has a token: %s", line)
			}
		}
	case <-time.After(patience):
		t.Fatalf("the log never says %q", want)
	}
}

// The tokens follow their file; one that cannot be used, or is gone, changes
// nothing and is logged once.
func TestTokensFollowTheirFile(t *testing.T) {
	known, path := tokens(t, tokenA)
	log := make(tail, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- known.Run(ctx, time.Millisecond, slog.New(slog.NewTextHandler(log, nil))) }()
	rt := own(httpapi.Config{Tokens: known}, func(w http.ResponseWriter, _ *http.Request) { httpapi.WriteJSON(w, http.StatusOK, 1) })
	expect := func(token string, status int) {
		t.Helper()
		if w := ask(rt, http.MethodGet, "/things", "Authorization", "Bearer "+token); w.Code != status {
			t.Errorf("%s…: %d, want %d", token[:4], w.Code, status)
		}
	}
	expect(tokenA, 200)
	expect(tokenB, 401)
	write(t, path, tokenB)
	log.wait(t, "in use")
	expect(tokenA, 401)
	expect(tokenB, 200)
	write(t, path, "# forgot the token\n")
	log.wait(t, "level=ERROR")
	expect(tokenB, 200)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "level=ERROR")
	expect(tokenB, 200)
	write(t, path, tokenA+"\n"+tokenB)
	log.wait(t, "in use")
	expect(tokenA, 200)
	expect(tokenB, 200)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(log) != 0 {
		t.Errorf("%d more lines are logged, the first is %s", len(log), <-log)
	}
}
