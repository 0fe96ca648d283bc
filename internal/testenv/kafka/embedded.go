package kafka

import (
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
)

// Embedded starts an embedded broker with all topics for the test, and connects
// a client for administration.
func Embedded(t testing.TB) (kafka.Config, *kafka.Client) {
	t.Helper()
	b, err := embedded.Start(t.Context(), embedded.Config{Address: "127.0.0.1:0", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return connect(t, []string{b.Address()})
}

func connect(t testing.TB, brokers []string) (kafka.Config, *kafka.Client) {
	t.Helper()
	cfg := kafka.Config{Brokers: brokers, ClientID: "test", Patience: time.Minute}
	client, err := kafka.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := kafka.EnsureTopics(t.Context(), client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	return cfg, client
}
