package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/files"
)

// Bounds of a file of tokens and of the tokens in it.
const (
	maxTokens = 1000
	minToken  = 16
	maxToken  = 512
)

// ErrTokens: a file of tokens cannot be used.
var ErrTokens = errors.New("file of tokens")

// Tokens are the bearer tokens that a service accepts (RFC 6750). Only their
// SHA-256 sums are kept.
type Tokens struct{ parsed *files.Parsed[tokenSet] }

type tokenSet [][sha256.Size]byte

// OpenTokens reads a file with one token a line: 16 to 512 characters, as RFC
// 6750 section 2.1 has them (letters, digits, - . _ ~ + / and = at the end).
// Lines that start with # and empty ones are left out. At least one token must
// be there, and at most 1000.
func OpenTokens(path string) (*Tokens, error) {
	parsed, err := files.Open(func(contents [][]byte) (tokenSet, error) { return parseTokens(contents[0]) }, path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTokens, err)
	}
	return &Tokens{parsed}, nil
}

// Run reads the file again when it changes, until ctx ends.
func (t *Tokens) Run(ctx context.Context, every time.Duration, log *slog.Logger) error {
	return t.parsed.Run(ctx, every, log)
}

// Failed says whether the file has changed and cannot be used.
func (t *Tokens) Failed() bool { return t.parsed.Failed() }

// FirstToken is the first token of a file as [OpenTokens] reads it, for a client
// that has the same file.
func FirstToken(path string) (string, error) {
	content, err := files.Read(path)
	if err == nil {
		_, err = parseTokens(content)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTokens, err)
	}
	for line := range bytes.Lines(content) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return string(line), nil
		}
	}
	return "", ErrTokens // not reached: there is one at least
}

// parseTokens names a faulty line by its number, never by its content.
func parseTokens(content []byte) (tokenSet, error) {
	var set tokenSet
	number := 0
	for line := range bytes.Lines(content) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if !isToken(string(line)) {
			return nil, fmt.Errorf("line %d is not a token: want %d to %d letters, digits or -._~+/ with = at the end alone", number, minToken, maxToken)
		}
		if len(set) == maxTokens {
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
		set = append(set, sha256.Sum256(line))
	}
	if len(set) == 0 {
		return nil, errors.New("no token in it")
	}
	return set, nil
}

func isToken(text string) bool {
	if len(text) < minToken || len(text) > maxToken {
		return false
	}
	for _, c := range []byte(strings.TrimRight(text, "=")) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// accept compares a token with every one that is known. The time it takes
// reveals nothing about them.
func (t *Tokens) accept(token string) bool {
	sum := sha256.Sum256([]byte(token))
	found := 0
	for _, known := range t.parsed.Get() {
		found |= subtle.ConstantTimeCompare(sum[:], known[:])
	}
	return found == 1
}

type clientKey struct{}

// Client names the client of a request by the SHA-256 sum of the token that it
// brought, so that what belongs to one client is found by no other. It is "" on
// routes that need no token: whatever a request brings there, nobody checked it.
func Client(r *http.Request) string {
	client, _ := r.Context().Value(clientKey{}).(string)
	return client
}

// guarded lets only those requests to the handler that bring a token. Others
// are answered before anything of them is read. Where browsers come, the token may
// be the password of HTTP Basic (RFC 7617), with any name: they ask people for it.
func (t *Tokens) guarded(realm string, browsed bool, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, brought := bearer(r)
		if _, password, ok := r.BasicAuth(); ok && browsed && len(r.Header.Values("Authorization")) == 1 {
			token, brought = password, true
		}
		if brought && t.accept(token) {
			sum := sha256.Sum256([]byte(token))
			handler(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, hex.EncodeToString(sum[:]))))
			return
		}
		challenge, detail := `Bearer realm="`+realm+`"`, "Send a token: Authorization: Bearer TOKEN."
		if brought {
			challenge, detail = challenge+`, error="invalid_token"`, "This token is not known here."
		}
		w.Header().Set("WWW-Authenticate", challenge)
		if browsed && WantsPage(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+realm+`", charset="UTF-8"`)
		}
		WriteProblem(w, Problem{Type: Unauthorized, Detail: detail})
	}
}

// bearer is the token that a request brings. A request with several
// Authorization headers brings none: which would count?
func bearer(r *http.Request) (token string, brought bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}
