package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FranzOptions are the settings of a franz-go client that connects as [Connect]
// does: to the same brokers, protected in the same way, as the same user. It
// creates no topic by asking for it, and tells brokers nothing about itself but
// its name. A request that gets no answer within timeout fails, and its connection
// with it. [Config.Patience] and [Config.SessionTimeout] are not for it.
func (c Config) FranzOptions(timeout time.Duration) ([]kgo.Opt, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.DialTimeout(min(dialTimeout, timeout)),
		kgo.RequestTimeoutOverhead(timeout), kgo.DisableClientMetrics(),
	}
	encrypted, err := c.Security.tls()
	if err != nil {
		return nil, err
	}
	switch {
	case c.Dialer != nil:
		options = append(options, kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			return secure(ctx, c.Dialer, network, address, encrypted)
		}))
	case encrypted != nil:
		options = append(options, kgo.DialTLSConfig(encrypted))
	}
	if c.Security.Mechanism != "" {
		mechanism, err := c.Security.franz()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

// secure dials by a dialer of the caller's, and encrypts the connection where there
// is a configuration for that.
func secure(ctx context.Context, by Dialer, network, address string, encrypted *tls.Config) (net.Conn, error) {
	conn, err := by.Dial(network, address)
	if err != nil || encrypted == nil {
		return conn, err
	}
	own := encrypted.Clone()
	own.ServerName, _, _ = net.SplitHostPort(address)
	client := tls.Client(conn, own)
	if err := client.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("encrypt the connection to %s: %w", address, err)
	}
	return client, nil
}
