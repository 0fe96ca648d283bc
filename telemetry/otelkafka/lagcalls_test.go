package otelkafka

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
)

func TestACallThatHangsIsLeftAlone(t *testing.T) {
	var c calls
	release, started := make(chan struct{}), make(chan struct{})
	impatient, cancel := context.WithCancel(t.Context())
	hang := func() (int, error) {
		close(started)
		cancel()
		<-release
		return 1, nil
	}
	if got, err := call(impatient, &c, 1, hang); !errors.Is(err, context.Canceled) || got != 0 {
		t.Errorf("%d, %v of a call that hangs", got, err)
	}
	<-started
	answer := func() (int, error) { return 2, errors.New("partly") }
	if _, err := call(t.Context(), &c, 1, answer); !errors.Is(err, errPending) {
		t.Errorf("a second call beside one that hangs: %v", err)
	}
	if got, err := call(t.Context(), &c, 2, answer); got != 2 || err == nil || err.Error() != "partly" {
		t.Errorf("%d, %v of another broker", got, err)
	}
	close(release)
	c.all.Wait()
	if got, err := call(t.Context(), &c, 1, func() (int, error) { return 3, nil }); got != 3 || err != nil {
		t.Errorf("%d, %v after the call came back", got, err)
	}
}

func TestErrorsOfManyPartitionsAreBounded(t *testing.T) {
	var failures partitionErrors
	for partition := range int32(10_000) {
		failures.add(TopicPartition{"t", partition}, sarama.ErrNotLeaderForPartition)
	}
	err := failures.err()
	if !errors.Is(err, sarama.ErrNotLeaderForPartition) {
		t.Errorf("the cause is lost: %v", err)
	}
	if text := err.Error(); len(text) > 500 || !strings.Contains(text, "t/0: ") || !strings.HasSuffix(text, "and 9997 more") {
		t.Errorf("error %q", text)
	}
	if len(failures.topics) != 1 {
		t.Errorf("topics %v, want one", failures.topics)
	}
}
