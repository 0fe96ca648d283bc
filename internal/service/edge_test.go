package service

import (
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestTokensThatLeaveTheMachine(t *testing.T) {
	for addresses, want := range map[string]bool{
		"127.0.0.1:3001": false, "[::1]:3001": false, "localhost:3001": false, "127.0.0.1:3001, 127.0.0.2:3001": false,
		":3001": true, "0.0.0.0:3001": true, "192.0.2.1:3001": true, "clerk.example:3001": true, "127.0.0.1:3001,172.17.0.1:3001": true,
	} {
		if got := leavesMachine(addresses); got != want {
			t.Errorf("%s: %v, want %v", addresses, got, want)
		}
	}
}

func TestHTTPSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings HTTP
		want     error
	}{
		"none":               {HTTP{}, nil},
		"all":                {HTTP{MaxConcurrent: 1, MaxConnections: 1, CertFile: "c", KeyFile: "k", TokensFile: "t"}, nil},
		"no slots":           {HTTP{MaxConcurrent: -1}, ErrBounds},
		"no connections":     {HTTP{MaxConnections: -1}, ErrBounds},
		"a lone certificate": {HTTP{CertFile: "c"}, httpapi.ErrCertificate},
		"a lone key":         {HTTP{KeyFile: "k"}, httpapi.ErrCertificate},
	} {
		if err := tt.settings.withDefaults().validate(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
