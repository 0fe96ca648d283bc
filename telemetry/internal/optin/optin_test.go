package optin_test

import (
	"testing"

	"github.com/vigie-dev/vigie/telemetry/internal/optin"
)

func TestNewest(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "messaging": true, "messaging/dup": true, "http, messaging/dup": true, "http,messaging,messaging/dup": true,
		"http": false, "messaging/other": false, "messagingx": false, "MESSAGING": false, "database": false,
	} {
		t.Setenv(optin.Variable, value)
		if got := optin.Newest("messaging"); got != want {
			t.Errorf("%q asks for the newest: %v, want %v", value, got, want)
		}
	}
}
