package service

import (
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

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
