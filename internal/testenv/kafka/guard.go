//go:build unix

package kafka

import (
	"testing"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// Guard is a second listener, which shows a certificate, wants one of the
// client's, and has the client sign in by PLAIN or SCRAM-SHA-512.
type Guard struct {
	// Authorities, PEM, signed the certificates of clients.
	Authorities string
	// Certificate is the broker's own with its key, PEM both, in one file.
	Certificate    string
	User, Password string

	address string
}

// StartGuarded is [Start] for a broker that also has a guarded listener, and
// returns the address of that.
func StartGuarded(t testing.TB, guard Guard) (b *Broker, address string) {
	t.Helper()
	var err error
	if guard.address, err = testproc.FreeAddress(); err != nil {
		t.Fatal(err)
	}
	return startWith(t, &guard), guard.address
}

// add adds the listener to a broker's settings.
func (g *Guard) add(settings map[string]string) {
	if g == nil {
		return
	}
	settings["listeners"] += ",GUARDED://" + g.address
	settings["advertised.listeners"] += ",GUARDED://" + g.address
	settings["listener.security.protocol.map"] += ",GUARDED:SASL_SSL"
	const modules = "org.apache.kafka.common.security."
	for name, value := range map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": g.Certificate,
		"ssl.truststore.type": "PEM", "ssl.truststore.location": g.Authorities,
		"ssl.client.auth":                           "required",
		"sasl.enabled.mechanisms":                   "PLAIN,SCRAM-SHA-512",
		"plain.sasl.jaas.config":                    modules + `plain.PlainLoginModule required user_` + g.User + `="` + g.Password + `";`,
		"scram-sha-512.sasl.jaas.config":            modules + `scram.ScramLoginModule required;`,
		"connection.failed.authentication.delay.ms": "0",
	} {
		settings["listener.name.guarded."+name] = value
	}
}

// users are the arguments by which a log is formatted with the SCRAM user.
func (g *Guard) users() []string {
	if g == nil {
		return nil
	}
	return []string{"--add-scram", "SCRAM-SHA-512=[name=" + g.User + ",password=" + g.Password + "]"}
}
