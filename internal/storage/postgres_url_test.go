package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/storage"
)

const password = "s3cr3t"

// What is wrong with a URL is told without the URL, which may hold a password.
func TestPostgresURLsThatAreRefused(t *testing.T) {
	for _, url := range []string{
		"postgres://user:" + password + "@host:port/db",
		"postgres://user:" + password + "%zz@host/db",
		"postgres://user:" + password + "@[host/db",
		"postgres://user:" + password + "@host /db",
		"postgres://us er:" + password + "@host/db",
		"postgres://user:" + password + "@host/db?sslmode=perhaps",
		"postgres://user:" + password + "@host/db?connect_timeout=" + "soon",
		"postgres://host/db?password=" + password + "&sslmode=perhaps",
		"postgresql://user:" + password + "`: x@host/db?sslmode=`: ",
		"postgres://user:" + password + "@host/db?sslrootcert=/nowhere&sslmode=verify-full",
		"postgres://user:a\n" + password + "@host/db",
	} {
		_, errOpen := storage.Open(t.Context(), url, "clerk", notes())
		_, errRead := storage.OpenReadOnly(t.Context(), url, "clerk")
		_, errHold := storage.Hold(t.Context(), url, "clerk")
		for _, err := range []error{errOpen, errRead, errHold} {
			if !errors.Is(err, storage.ErrUnsupportedURL) {
				t.Errorf("%s: %v, want ErrUnsupportedURL", url, err)
			} else if strings.Contains(err.Error(), password) {
				t.Errorf("the password is told: %v", err)
			}
		}
	}
}

func TestRedacted(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:./data": "sqlite:./data",
		"postgres://user:" + password + "@host:5432/db?password=" + password: "postgres://host:5432/db",
		"postgresql://user:" + password + "@one,two/db":                      "postgres://one,two/db",
		"postgres://user:" + password + "%zz@host/db":                        "postgres://…",
	} {
		if got := storage.Redacted(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
