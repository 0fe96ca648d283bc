package otelkafka

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry"
)

// Values of the label cause of kafka_consumer_rebalances_total.
const (
	causeJoined            = "joined"             // the member began: it had no session, or ended the last by itself
	causeGroupChanged      = "group_changed"      // another member came, went or was lost, or changed its topics
	causePartitionsChanged = "partitions_changed" // a topic has more partitions; seen by the group's leader
	causeSessionLost       = "session_lost"       // the coordinator no longer knew this member
	causeCoordinatorLost   = "coordinator_lost"   // heartbeats failed: the coordinator was away
	causeRevocationTimeout = "revocation_timeout" // a handler did not let a revoked partition go in time
	causeClaimExited       = "claim_exited"       // a handler gave up a partition by returning
)

func causes() []string {
	return []string{
		causeJoined, causeGroupChanged, causePartitionsChanged, causeSessionLost, causeCoordinatorLost,
		causeRevocationTimeout, causeClaimExited, telemetry.LabelOther,
	}
}

// causeOf names the cause of a session's end, or returns "" where the service itself ended it: by the context of
// Consume, whatever its cause, or by closing the group.
func causeOf(err error) string {
	var code sarama.KError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.Is(err, sarama.ErrRebalanceInProgress):
		return causeGroupChanged
	case errors.Is(err, sarama.ErrSessionPartitionCountChanged):
		return causePartitionsChanged
	case errors.Is(err, sarama.ErrRebalanceTimedOut):
		return causeRevocationTimeout
	case errors.Is(err, sarama.ErrSessionConsumeClaimExited):
		return causeClaimExited
	case isAny(err, sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrFencedInstancedId):
		return causeSessionLost
	case isConnectionFailure(err):
		return causeCoordinatorLost
	case errors.As(err, &code):
		return telemetry.LabelOther
	default:
		return ""
	}
}

// isConnectionFailure recognises what sarama's heartbeats end with where the coordinator does not answer them.
func isConnectionFailure(err error) bool {
	var network net.Error
	var malformed sarama.PacketDecodingError
	return errors.As(err, &network) || errors.As(err, &malformed) || isAny(err,
		sarama.ErrSessionHeartbeatFailed, sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrOutOfBrokers, sarama.ErrNotConnected, sarama.ErrBrokerNotFound, sarama.ErrIncompleteResponse,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed)
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
