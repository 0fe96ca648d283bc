package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/secret"
)

func TestNobodyReadsIt(t *testing.T) {
	const text = "hunter2"
	v := secret.Of(text)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("signed in", "password", v, "all", struct{ P secret.Value }{v})
	encoded, err := json.Marshal(map[string]any{"p": v, "q": &v})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(v), fmt.Sprintf("%s %v %+v %#v %q %x %d", v, v, v, v, v, v, v), fmt.Sprintf("%+v %#v", struct{ P secret.Value }{v}, &v),
		fmt.Errorf("sign in: %v", v).Error(), log.String(), string(encoded),
	} {
		if strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) || !strings.Contains(got, "[secret]") {
			t.Errorf("shown as %s", got)
		}
	}
	if v.Reveal() != text || !v.Present() || (secret.Value{}).Present() {
		t.Error("the secret is gone")
	}
}

func TestReadTakesAFile(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		content, want string
		err           error
	}{
		"plain":       {content: "pass word", want: "pass word"},
		"line end":    {content: "password\r\n\n", want: "password"},
		"space stays": {content: " password \n", want: " password "},
		"empty":       {content: "\n", err: secret.ErrFile},
		"large":       {content: strings.Repeat("x", 64<<10+1), err: secret.ErrFile},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secret.Read(path); got.Reveal() != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got.Reveal(), err, tt.want, tt.err)
		}
	}
	if _, err := secret.Read(filepath.Join(dir, "missing")); !errors.Is(err, secret.ErrFile) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
}

func TestWhatIsTheSecret(t *testing.T) {
	for text, want := range map[string]bool{"hunter2": true, "hunter": false, "hunter22": false, "": false} {
		if got := secret.Of("hunter2").Is(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if (secret.Value{}).Is("") {
		t.Error("nothing is a secret")
	}
}
