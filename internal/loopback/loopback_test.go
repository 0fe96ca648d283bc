package loopback

import "testing"

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:3001": true, "127.0.0.1": true, "127.8.0.1:1": true, "localhost:1": true, "localhost": true, "::1": true, "[::1]": true, "[::1]:3001": true,
		"10.0.0.1:3001": false, "bank.example": false, "localhost.example:1": false, "[fe80::1]:1": false, "": false, ":3001": false, "0.0.0.0:1": false, "[::]:1": false,
		"127.0.0.1.example:1": false, "127.0.0.1@bank.example": false, "127.0.0.1:1:1": false,
	} {
		if got := Is(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestURL(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:3001": true, "http://127.8.0.1:1": true, "https://[::1]:3001": true, "http://localhost": true,
		"http://10.0.0.1:3001": false, "http://bank.example": false, "http://localhost.example:1": false, "http://[fe80::1]:1": false, "": false, "http://0.0.0.0:1": false,
		"http://127.0.0.1.example:1": false, "http://127.0.0.1@bank.example": false, "://": false,
	} {
		if got := URL(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func TestAll(t *testing.T) {
	for addresses, want := range map[string]bool{
		"127.0.0.1:3005": true, "localhost:3005": true, "[::1]:3005": true, "127.0.0.1:3005, [::1]:3005": true,
		":3005": false, "0.0.0.0:3005": false, "192.0.2.1:3005": false, "127.0.0.1:3005,192.0.2.1:3005": false, "": false, "here": false, "127.0.0.1": false,
	} {
		if got := All(addresses); got != want {
			t.Errorf("%q: %v", addresses, got)
		}
	}
}
