package groups

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// retryPause is how long a request waits that found its connection dead.
const retryPause = 50 * time.Millisecond

// tooOld is what franz-go says of a broker that does not know a request, in an error
// that it does not export.
const tooOld = "broker is too old"

// anyBroker stands for no certain broker.
const anyBroker = -1

// Kind classes failures, for a label.
type Kind string

// The kinds.
const (
	KindTimeout        Kind = "timeout"
	KindConnection     Kind = "connection"
	KindTLS            Kind = "tls"
	KindAuthentication Kind = "authentication"
	KindAuthorization  Kind = "authorization"
	KindMoved          Kind = "moved"       // a leader or coordinator is elsewhere, or not there yet
	KindUnsupported    Kind = "unsupported" // the broker is too old
	KindOther          Kind = "other"
)

func kinds() []Kind {
	return []Kind{KindTimeout, KindConnection, KindTLS, KindAuthentication, KindAuthorization, KindMoved, KindUnsupported, KindOther}
}

// kindOf classes an error of a request.
func kindOf(err error) Kind {
	var (
		authority x509.UnknownAuthorityError
		verify    *tls.CertificateVerificationError
		header    tls.RecordHeaderError
		network   net.Error
		operation *net.OpError
		protocol  *kerr.Error
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return KindTimeout
	case errors.As(err, &authority), errors.As(err, &verify), errors.As(err, &header):
		return KindTLS
	case errors.As(err, &protocol):
		return kindOfCode(protocol)
	case errors.As(err, &operation) && operation.Op == "remote error": // crypto/tls about the other side's alert
		return KindTLS
	case errors.As(err, &network) && network.Timeout():
		return KindTimeout
	case errors.As(err, &operation), errors.Is(err, io.EOF), kgo.IsRetryableBrokerErr(err):
		return KindConnection
	case strings.Contains(err.Error(), tooOld):
		return KindUnsupported
	default:
		return KindOther
	}
}

func kindOfCode(err *kerr.Error) Kind {
	switch err {
	case kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState:
		return KindAuthentication
	case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed:
		return KindAuthorization
	case kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.ReplicaNotAvailable,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID, kerr.OffsetNotAvailable, kerr.OffsetOutOfRange,
		kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.GroupIDNotFound:
		return KindMoved
	case kerr.UnsupportedVersion:
		return KindUnsupported
	default:
		return KindOther
	}
}

// asking is what one round asks. It is safe for concurrent use.
type asking struct {
	client  *kgo.Client
	timeout time.Duration

	mu       sync.Mutex
	requests map[string]int
	failures []Failure
	silent   map[int32]error // brokers that gave no answer
}

// ask sends a request to a broker and returns its answer. A broker that does not
// answer is asked no more: it costs a round one time-out, and nobody but itself.
func ask[R kmsg.Response](ctx context.Context, a *asking, broker int32, request kmsg.Request) (answer R, err error) {
	name := kmsg.NameForKey(request.Key())
	a.mu.Lock()
	err = a.silent[broker]
	if err == nil {
		a.requests[name]++
	}
	a.mu.Unlock()
	if err != nil {
		return answer, err
	}
	limit := a.timeout
	if broker == anyBroker {
		limit *= 3 // for those that do not answer, before one does
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var got kmsg.Response
	if broker == anyBroker {
		got, err = a.client.Request(ctx, request)
	} else {
		got, err = a.client.Broker(int(broker)).RetriableRequest(ctx, request)
	}
	if err != nil {
		a.silence(broker, name, err)
		return answer, err
	}
	answer, ok := got.(R)
	if !ok {
		return answer, fmt.Errorf("%s answered with %T", name, got)
	}
	return answer, nil
}

// silence notes that a broker did not answer. One that is too old for a request
// has.
func (a *asking) silence(broker int32, request string, err error) {
	a.fail(broker, request, err)
	if kindOf(err) == KindUnsupported {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.silent[broker] == nil {
		a.silent[broker] = err
	}
}

// fail notes what went wrong. What goes wrong in the same way for many is noted once.
func (a *asking) fail(broker int32, request string, err error) {
	f := Failure{Broker: broker, Request: request, Kind: kindOf(err), Text: err.Error()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.ContainsFunc(a.failures, func(known Failure) bool { return known.key() == f.key() }) {
		a.failures = append(a.failures, f)
	}
}

// eachBroker does something for each of the brokers, side by side.
func eachBroker[T any](work map[int32]T, do func(int32, T)) {
	var all sync.WaitGroup
	for broker, w := range work {
		all.Go(func() { do(broker, w) })
	}
	all.Wait()
}
