package commande

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/vigie-dev/vigie/internal/banking"
)

// headerKey is the request header of draft-ietf-httpapi-idempotency-key-header.
const headerKey = "Idempotency-Key"

// maxKey bounds a key, in characters; the draft leaves that to the server.
const maxKey = 255

// errKey: the request's key cannot be used.
var errKey = errors.New("bad " + headerKey)

// readKey returns the hash of the request's key, "" where there is none. A key
// is 1 to 255 printable characters of ASCII: a string of structured fields (RFC
// 9651), as the draft has it, or the same without its quotes, as most clients
// send it. Only its hash is stored: what clients put into keys is their own.
func readKey(header http.Header) (string, error) {
	values := header.Values(headerKey)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errKey
	}
	key := strings.Trim(values[0], " \t")
	if strings.HasPrefix(key, `"`) {
		var ok bool
		if key, ok = unquoted(key); !ok {
			return "", errKey
		}
	}
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", errKey
	}
	return hash(key), nil
}

// unquoted reads a string of structured fields: of escapes it knows \" and \\.
func unquoted(text string) (string, bool) {
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return "", false
	}
	var out strings.Builder
	for inner := text[1 : len(text)-1]; inner != ""; inner = inner[1:] {
		switch inner[0] {
		case '"':
			return "", false
		case '\\':
			if inner = inner[1:]; inner == "" || inner[0] != '"' && inner[0] != '\\' {
				return "", false
			}
		}
		out.WriteByte(inner[0])
	}
	return out.String(), true
}

// fingerprint tells requests apart by what they ask for, not by how their
// bodies are written.
func fingerprint(request banking.OrderRequest) string {
	parts := append([]string{request.UserID, strconv.FormatInt(int64(request.Amount), 10)}, request.Items...)
	for i, part := range parts {
		parts[i] = strconv.Quote(part)
	}
	return hash(strings.Join(parts, ","))
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
