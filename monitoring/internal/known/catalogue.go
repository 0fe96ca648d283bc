package known

import (
	"fmt"
	"os"
	"strings"
)

// catalogue reads the generated table of the services' metrics, which the
// services' own tests hold against their code.
func (m Metrics) catalogue(path string) error {
	text, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		labels := strings.FieldsFunc(cells[3], func(r rune) bool { return r == ',' || r == ' ' })
		switch kind := strings.TrimSpace(cells[2]); kind {
		case "counter", "gauge":
			m.add(name, labels...)
		case "histogram":
			m.histogram(name, labels...)
		default:
			return fmt.Errorf("read catalogue %s: %s is a %q", path, name, kind)
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("read catalogue %s: no metrics", path)
	}
	return nil
}
