package service

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vigie-dev/vigie/internal/files"
	"github.com/vigie-dev/vigie/internal/secret"
)

// OpenToken returns a token that the service shows to others or wants from them: the one in
// a file, which is read again when it changes, and without a file the one that is given,
// which may be none. The name says in errors what it is for.
func (b *Base) OpenToken(name string, given secret.Value, path string) (func() secret.Value, error) {
	if path == "" {
		return func() secret.Value { return given }, nil
	}
	parsed, err := files.Open(func(contents [][]byte) (secret.Value, error) {
		token := strings.TrimSpace(string(contents[0]))
		if token == "" || strings.ContainsAny(token, " \t\r\n") {
			return secret.Value{}, errors.New("want one token")
		}
		return secret.Of(token), nil
	}, path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	b.Stack.Go(name, func(ctx context.Context) error { return parsed.Run(ctx, reloadInterval, b.Log) })
	return parsed.Get, nil
}
