package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Keys of calls that concern no single broker; brokers' own are not negative.
const (
	leadersCall int32 = -1 - iota
	metadataCall
)

// errPending: an earlier call to the same broker has not come back. Another one would only queue behind it.
var errPending = errors.New("an earlier request is still unanswered")

// calls makes sarama's requests, which know no context, end in time for their caller: a call that outlives the
// caller's patience goes on alone, and keeps its broker from being called again, so that there is at most one for
// each broker. sarama's network timeouts end it. The zero value is ready.
type calls struct {
	mu      sync.Mutex
	running map[int32]bool
	all     sync.WaitGroup
}

// call runs f unless a call with that key is running, and returns its results unless ctx ends first.
func call[A any](ctx context.Context, c *calls, key int32, f func() (A, error)) (A, error) {
	type result struct {
		answer A
		err    error
	}
	var none A
	if !c.begin(key) {
		return none, errPending
	}
	done := make(chan result, 1)
	c.all.Go(func() {
		var r result
		r.answer, r.err = f()
		c.end(key) // before the caller goes on: it may call again at once
		done <- r
	})
	select {
	case r := <-done:
		return r.answer, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func (c *calls) begin(key int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[key] {
		return false
	}
	if c.running == nil {
		c.running = make(map[int32]bool)
	}
	c.running[key] = true
	return true
}

func (c *calls) end(key int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, key)
}

// maxReported bounds the partitions named in one error.
const maxReported = 3

// partitionErrors collects failures about partitions in an error of bounded size, and the topics concerned.
type partitionErrors struct {
	count    int
	reported []error
	topics   []string
}

func (e *partitionErrors) add(p TopicPartition, err error) {
	e.count++
	if len(e.reported) < maxReported {
		e.reported = append(e.reported, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, err))
	}
	if !slices.Contains(e.topics, p.Topic) {
		e.topics = append(e.topics, p.Topic)
	}
}

func (e *partitionErrors) err() error {
	return &joined{count: e.count, errs: e.reported}
}

// joined is a list of errors on one line.
type joined struct {
	count int
	errs  []error
}

func (j *joined) Error() string {
	texts := make([]string, 0, len(j.errs))
	for _, err := range j.errs {
		texts = append(texts, err.Error())
	}
	if more := j.count - len(j.errs); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

func (j *joined) Unwrap() []error { return j.errs }
