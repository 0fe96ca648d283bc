package kafka_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
)

// The other client is taken by the brokers that take ours, with the same settings,
// and by no others.
func TestFranzConnectsAsWeDo(t *testing.T) {
	ca, foreign := testcerts.New(t, "authority"), testcerts.New(t, "foreign")
	client := ca.Sign(t, "client")
	plain, scram, weaker := guarded(t, signsIn("PLAIN")...), guarded(t, signsIn("SCRAM-SHA-512")...), guarded(t, signsIn("SCRAM-SHA-256")...)
	both := guarded(t, append(signsIn("SCRAM-SHA-512"), encrypted(t, ca))...)
	user := func(mechanism, word string) kafka.Security {
		return kafka.Security{Mechanism: mechanism, User: "vigie", Password: secret.Of(word)}
	}
	all := kafka.Security{TLS: true, CAFile: ca.File, CertFile: client.CertFile, KeyFile: client.KeyFile, Mechanism: "SCRAM-SHA-512", User: "vigie", Password: secret.Of(password)}
	stranger := all
	stranger.CAFile = foreign.File
	for name, tt := range map[string]struct {
		brokers  []string
		security kafka.Security
		dialer   kafka.Dialer
		taken    bool
	}{
		"nobody":                     {guarded(t), kafka.Security{}, nil, true},
		"PLAIN":                      {plain, user("PLAIN", password), nil, true},
		"PLAIN, wrong password":      {plain, user("PLAIN", "wrong horse"), nil, false},
		"SCRAM-SHA-256":              {weaker, user("SCRAM-SHA-256", password), nil, true},
		"SCRAM-SHA-512":              {scram, user("SCRAM-SHA-512", password), nil, true},
		"TLS and a user":             {both, all, nil, true},
		"TLS by a dialer of our own": {both, all, &net.Dialer{}, true},
		"TLS of another authority":   {both, stranger, nil, false},
		"the same by a dialer":       {both, stranger, &net.Dialer{}, false},
		"plain text to TLS":          {both, user("SCRAM-SHA-512", password), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options, err := kafka.Config{Brokers: tt.brokers, ClientID: "test", Security: tt.security, Dialer: tt.dialer}.FranzOptions(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.taken {
				options = append(options, kgo.RequestRetries(0))
			}
			asking, err := kgo.NewClient(options...)
			if err != nil {
				t.Fatal(err)
			}
			defer asking.Close()
			limit := time.Minute
			if !tt.taken {
				limit = 3 * time.Second // kfake ends the connection, which is tried again
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := asking.Ping(ctx); (err == nil) != tt.taken {
				t.Errorf("taken: %v, want %v: %v", err == nil, tt.taken, err)
			}
		})
	}
	if _, err := (kafka.Config{Brokers: []string{"broker:9092"}, Security: kafka.Security{Mechanism: "GSSAPI", User: "u", Password: secret.Of("p")}}).FranzOptions(time.Second); !errors.Is(err, kafka.ErrSASL) {
		t.Errorf("%v", err)
	}
}
