package banking

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/testenv/golden"
)

// TestNamesAreContracts freezes names that other systems store or type.
func TestNamesAreContracts(t *testing.T) {
	var b strings.Builder
	for _, topic := range Topics() {
		fmt.Fprintln(&b, topic.Name, topic.Partitions, topic.Retention)
	}
	fmt.Fprintln(&b, GroupPaiement, GroupSuivi, GroupAnalyseur)
	fmt.Fprintln(&b, record.HeaderEventID, record.HeaderEventType, record.HeaderOriginalEventID)
	fmt.Fprintln(&b, TypeOrderCreated, TypePaymentAuthorized, TypePaymentRejected)
	fmt.Fprint(&b, StatusCreated, " ", StatusAuthorized, " ", StatusRejected, " ", StatusPurged)
	golden.Compare(t, "names.txt", b.String()+"\n")
}

func TestTopicsGivesAFreshSlice(t *testing.T) {
	t.Parallel()
	Topics()[0].Name = "changed"
	if got := Topics()[0].Name; got != TopicOrdersCreated {
		t.Errorf("got %s", got)
	}
}
