package banking

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// A probe is an order that nobody has placed: it goes the way of all orders, to see
// whether that is open. It is known by its id, which stands in each of its records, and
// [IsProbe] is the one rule by which it is left out of money, statistics, lists and
// counts. commande alone gives such ids, and only to who has the probe's credential.

// The headers of a request to POST /orders that makes its order a probe.
const (
	HeaderProbe          = "Vigie-Probe"           // the credential
	HeaderProbePartition = "Vigie-Probe-Partition" // the partition of orders.created to take
)

const probePrefix = "probe-"

// IsProbe says whether an order is a probe.
func IsProbe(orderID string) bool { return strings.HasPrefix(orderID, probePrefix) }

// NewProbeID returns the id of a new probe, which nobody can guess. It says what the
// highest number of an order was that had been given then, 0 for none: where the last
// records of a log are probes, they tell what the orders before them would. A negative number
// is not known, and says nothing.
func NewProbeID(highest int64) string {
	number := ""
	if highest >= 0 {
		number = strconv.FormatInt(highest, 10)
	}
	return probePrefix + number + "-" + rand.Text()
}

// NamedByProbe returns the number that [NewProbeID] was given, and whether the id is one of
// its.
func NamedByProbe(orderID string) (highest int64, ok bool) {
	text, ok := strings.CutPrefix(orderID, probePrefix)
	number, _, cut := strings.Cut(text, "-")
	highest, err := strconv.ParseInt(number, 10, 64)
	return highest, ok && cut && err == nil && highest >= 0
}
