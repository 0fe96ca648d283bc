package commande

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
)

// probes makes probes of orders: those that are placed with the probe's credential.
type probes struct {
	credential func() secret.Value // none: there are no probes
	ids        *ids                // of the orders beside them
	partitions func() (int32, error)
}

// claimed says whether a request brings the credential. A wrong one is no error, and its
// order is one like any other.
func (p *probes) claimed(r *http.Request) bool {
	brought := r.Header.Values(banking.HeaderProbe)
	return p != nil && len(brought) == 1 && p.credential().Is(brought[0])
}

// errPartition: a probe is to take a partition that there is not.
var errPartition = errors.New("bad " + banking.HeaderProbePartition)

// keysFor are keys whose orders are probes: with ids that lead to the partition which the
// request names, or to any.
func (p *probes) keysFor(r *http.Request, known *keys) (*keys, error) {
	way := probeWay{probes: p, partition: anyPartition}
	if text := r.Header.Get(banking.HeaderProbePartition); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return nil, errPartition
		}
		way.partition = int32(n)
	}
	probing := *known
	probing.ids = way
	return &probing, nil
}

const (
	anyPartition = -1
	// maxDraws bounds how many ids are drawn for one partition: so many miss it less often than
	// anything else fails.
	maxDraws = 1 << 16
)

// probeWay gives ids that lead to a partition.
type probeWay struct {
	*probes
	partition int32
}

// take implements [identifier].
func (w probeWay) take(context.Context) (string, error) {
	count, err := w.partitions()
	if err != nil {
		return "", err
	}
	if w.partition >= count {
		return "", fmt.Errorf("%w: %d of %d", errPartition, w.partition, count)
	}
	for range maxDraws {
		id := banking.NewProbeID(w.ids.known())
		if partition, err := kafka.PartitionOf(id, count); err != nil || partition == w.partition || w.partition == anyPartition {
			return id, err
		}
	}
	return "", fmt.Errorf("no id leads to partition %d of %d", w.partition, count)
}
