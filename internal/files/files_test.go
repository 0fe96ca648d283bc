package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vigie-dev/vigie/internal/files"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
)

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := files.Read(path, 4); string(got) != "four" || err != nil {
		t.Errorf("as long as it may be: %q, %v", got, err)
	}
	if _, err := files.Read(path, 3); !errors.Is(err, files.ErrTooLarge) {
		t.Errorf("longer than it may be: %v", err)
	}
	if _, err := files.Read(path+".missing", 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestAuthoritiesAreCertificates(t *testing.T) {
	ca := testcerts.New(t, "authority")
	if pool, err := files.Authorities(ca.File); pool == nil || err != nil {
		t.Errorf("an authority: %v", err)
	}
	if _, err := files.Authorities(ca.Sign(t, "own").KeyFile); !errors.Is(err, files.ErrNoCertificate) {
		t.Errorf("a key: %v", err)
	}
	if _, err := files.Authorities(ca.File + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
