package paiement

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// Verdict is what an authoriser says about a payment.
type Verdict struct {
	Authorized bool
	Code       string // of an authorised payment
	Reason     string // of a rejected one
}

// Authoriser decides payments. Called again for the same order it may fail,
// but does not give another verdict. It is safe for concurrent use.
type Authoriser interface {
	Authorise(ctx context.Context, orderID string, amount banking.Money) (Verdict, error)
}

// errAuthoriser is the simulated authoriser's failure.
var errAuthoriser = errors.New("authoriser failed")

// Simulation stands in for a bank's authoriser. Its verdict on an order
// follows from the seed and the order's id alone; its failures are random.
type Simulation struct {
	RejectRate float64       // share of payments that are rejected, 0 to 1
	ErrorRate  float64       // share of calls that fail, 0 to 1
	Latency    time.Duration // of every call
	Seed       uint64
}

// Authorise implements [Authoriser].
func (s Simulation) Authorise(ctx context.Context, orderID string, _ banking.Money) (Verdict, error) {
	if err := s.wait(ctx); err != nil {
		return Verdict{}, err
	}
	if s.ErrorRate > 0 && rand.Float64() < s.ErrorRate { //nolint:gosec // a simulation
		return Verdict{}, errAuthoriser
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "%d/%s", s.Seed, orderID))
	draw := float64(binary.BigEndian.Uint64(digest[:8])>>11) / (1 << 53)
	if draw < s.RejectRate {
		reasons := [...]string{"insufficient_funds", "limit_exceeded", "card_expired", "suspected_fraud"}
		return Verdict{Reason: reasons[digest[8]%uint8(len(reasons))]}, nil
	}
	return Verdict{Authorized: true, Code: fmt.Sprintf("AUTH-%X", digest[8:14])}, nil
}

func (s Simulation) wait(ctx context.Context) error {
	if s.Latency <= 0 {
		return ctx.Err()
	}
	return lifecycle.Sleep(ctx, s.Latency)
}
