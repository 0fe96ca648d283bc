package faults

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/storage"
)

// While a storage is locked, or slow, another program has it; afterwards nobody does.
func TestAnotherProgramHasTheStorage(t *testing.T) {
	for _, fault := range OfStorage("", "paiement") {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			store, err := storage.Open(t.Context(), "sqlite:"+folder, "paiement", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			ctx, cancel := context.WithCancel(t.Context())
			begun := false
			err = named(OfStorage("sqlite:"+folder, "paiement"), fault.Name).Run(ctx, func() {
				begun = true
				if err := write(t, folder); err == nil || !strings.Contains(err.Error(), "locked") {
					t.Errorf("in force: %v", err)
				}
				cancel()
			})
			if err != nil || !begun {
				t.Fatalf("in force: %v, %v", begun, err)
			}
			if err := write(t, folder); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// write begins a transaction that writes, without waiting for others.
func write(t *testing.T, folder string) error {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("databases: %v, %v", files, err)
	}
	db, err := sql.Open("sqlite", "file:"+files[0]+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	return tx.Rollback()
}
