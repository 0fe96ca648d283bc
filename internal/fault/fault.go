// Package fault kills the process at a named step, so that tests can show that
// no step is a bad moment to crash. It does nothing unless VIGIE_FAULT is set.
package fault

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Step is a moment at which a crash is interesting.
type Step string

// The steps of the consumers' loop and of taking an order.
const (
	BeforeStore  Step = "before-store"  // decided, nothing stored
	AfterStore   Step = "after-store"   // stored with its outbox, nothing published
	AfterPublish Step = "after-publish" // published, not marked as published
	BeforeCommit Step = "before-commit" // published, Kafka's offset not committed
	AfterMark    Step = "after-mark"    // marked as published
	BeforeOrder  Step = "before-order"  // order id taken, order not published
	AfterOrder   Step = "after-order"   // order acknowledged by Kafka, client not answered

	maxOccurrences = 1_000_000_000
)

// Steps lists all steps.
func Steps() []Step {
	return []Step{BeforeStore, AfterStore, AfterPublish, BeforeCommit, AfterMark, BeforeOrder, AfterOrder}
}

// Injector kills the process the nth time that it comes to a step. A nil
// Injector, the usual one, does nothing.
type Injector struct {
	step Step
	left atomic.Int64
	kill func()
}

// Parse reads the form STEP#N, for example "after-store#3"; "" gives nil. kill
// ends the process, as [Kill] does; a test may end only a part of its own.
func Parse(text string, kill func()) (*Injector, error) {
	if text == "" {
		return nil, nil
	}
	name, number, found := strings.Cut(text, "#")
	n, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || n < 1 || n > maxOccurrences || !slices.Contains(Steps(), Step(name)) {
		return nil, fmt.Errorf("fault %q: want STEP#N with a step of %v", text, Steps())
	}
	i := &Injector{step: Step(name), kill: kill}
	i.left.Store(n)
	return i, nil
}

// At says that the process has come to a step.
func (i *Injector) At(step Step) {
	if i != nil && i.step == step && i.left.Add(-1) == 0 {
		i.kill()
	}
}

// Kill ends the process as kill -9 does: no deferred call, no flush.
func Kill() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // the signal is on its way
}
