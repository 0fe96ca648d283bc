package cli

import (
	"testing"

	"go.yaml.in/yaml/v4"
)

func decodeYAML(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
