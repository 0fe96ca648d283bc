//go:build !race || whole

package system_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// A copy of the whole data folder, taken while the system is stopped, is a
// backup: what it holds is there after a restore, accounted for once, and the
// system goes on from there.
func TestACopyOfTheDataFolderIsABackup(t *testing.T) {
	bank.Parallel(t)
	data, backup := t.TempDir(), t.TempDir()
	s := bank.Start(t, data)
	for i := range 3 {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	before := s.Settled(t, 3)
	s.Program.Stop()
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}

	s = bank.Start(t, data) // what comes after the backup is lost with the folder
	s.MustOrder(t, "4")
	s.Settled(t, 4)
	s.Program.Stop()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}

	s = bank.Start(t, data)
	after := s.Settled(t, 3)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the restore %+v, before %+v", after, before)
	}
	for i := range 3 {
		s.Decided(t, fmt.Sprintf("order-%d", i+1))
	}
	if p := s.MustOrder(t, "5"); p.OrderID != "order-4" {
		t.Errorf("the next order is %s, want order-4", p.OrderID)
	}
	s.Settled(t, 4)
	if report, status := auditJSON(t, s.Brokers, "--data", data); status != 0 || report.Created.Count != 4 {
		t.Errorf("audit = %d: %+v", status, report)
	}
}
