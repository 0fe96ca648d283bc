package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The script for k6 mixes what vigie load mixes by default.
func TestTheScriptForK6MixesTheSame(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "test", "load", "k6", "vigie.js"))
	if err != nil {
		t.Fatal(err)
	}
	_, mix, _ := strings.Cut(string(text), "const mix = [")
	mix, _, _ = strings.Cut(mix, "];")
	var want strings.Builder
	want.WriteString("\n")
	for _, kind := range Kinds() {
		fmt.Fprintf(&want, "  [%q, %v],\n", kind, DefaultMix()[kind])
	}
	if mix != want.String() {
		t.Errorf("it mixes%sand vigie load%s", mix, want.String())
	}
}
