package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// What an open transaction hides is waited for, and told, until it ends.
func TestWhatIsHiddenIsWaitedFor(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	log := kafka.Cluster{Config: cfg, Client: client}
	tx := testkafka.Begin(t, cfg, on(0, "junk"))
	testkafka.Begin(t, cfg, on(0, "hidden"), on(1, "b")).Commit()
	told := 0
	spans, err := kafka.WholeBounds(t.Context(), log, func(hidden error) error {
		if e, ok := errors.AsType[*kafka.HiddenError](hidden); !ok || !strings.Contains(e.Error(), "orders.created/0 from offset 0 to ") {
			t.Errorf("waits for %v", hidden)
		}
		if told++; told == 2 {
			tx.Commit()
		}
		return nil
	}, banking.TopicOrdersCreated)
	if err != nil || told < 2 {
		t.Fatalf("told %d times, %v", told, err)
	}
	if spans[0].End < 3 || spans[1].End < 1 {
		t.Errorf("the logs hold %v", spans)
	}

	tx = testkafka.Begin(t, cfg, on(0, "again"))
	ctx, stop := context.WithCancel(t.Context())
	_, err = kafka.WholeBounds(ctx, log, func(error) error { stop(); return nil }, banking.TopicOrdersCreated)
	if !errors.Is(err, context.Canceled) || !strings.Contains(fmt.Sprint(err), "open transaction") {
		t.Errorf("stopped: %v", err)
	}
	enough := errors.New("enough")
	if _, err := kafka.WholeBounds(t.Context(), log, func(error) error { return enough }, banking.TopicOrdersCreated); !errors.Is(err, enough) {
		t.Errorf("who has waited enough: %v", err)
	}
	tx.Abort()
}
