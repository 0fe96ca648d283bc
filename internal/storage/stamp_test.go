package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/storage"
)

func TestStampBindsStorageToItsCluster(t *testing.T) { onEach(t, testStampBindsStorageToItsCluster) }

func testStampBindsStorageToItsCluster(t *testing.T, empty maker) {
	url := empty(t)
	first := map[string]string{"cluster": "abc", "topic orders.created": "t1"}
	steps := []struct {
		name       string
		identities map[string]string
		names      []string // in the error; nil for none
	}{
		{"first time", first, nil},
		{"same", first, nil},
		{"part of it", map[string]string{"cluster": "abc"}, nil},
		{"none", nil, nil},
		{"new name", map[string]string{"cluster": "abc", "topic orders.dlq": "t2"}, nil},
		{"other cluster", map[string]string{"cluster": "xyz", "topic orders.created": "t1"}, []string{"cluster", "xyz", "abc"}},
		{"topic made anew", map[string]string{"cluster": "abc", "topic orders.created": "t9"}, []string{"topic orders.created", "t9", "t1"}},
		{"the name added later", map[string]string{"topic orders.dlq": "t8"}, []string{"topic orders.dlq", "t8", "t2"}},
		{"refused with a new name", map[string]string{"a new": "n1", "cluster": "xyz"}, []string{"cluster"}},
		{"the new name was not kept", map[string]string{"a new": "n2"}, nil},
		{"still the first", first, nil},
	}
	for _, step := range steps { // one after the other, on one url
		s := reopen(t, url)
		err := s.Stamp(t.Context(), step.identities)
		closed(t, s)
		if (step.names != nil) != errors.Is(err, storage.ErrForeign) || (step.names == nil && err != nil) {
			t.Errorf("%s: %v", step.name, err)
		}
		for _, name := range step.names {
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %q does not name %q", step.name, err, name)
			}
		}
	}
}
