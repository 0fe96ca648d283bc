package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// Scenario is a load in a file: settings of the command under their names, and what
// takes more than a setting.
type Scenario struct {
	Description string `yaml:"description"`
	// Points are the rate over time, in place of a shape.
	Points []Point `yaml:"points"`
	// Faults are what breaks meanwhile.
	Faults []Fault `yaml:"faults"`
	// Settings are values of the command's flags, by their names.
	Settings map[string]string `yaml:",inline"`
}

// ErrScenario: a file is no scenario.
var ErrScenario = errors.New("no scenario")

// maxScenario bounds a scenario's file.
const maxScenario = 64 << 10

// ReadScenario reads a scenario. Whether its settings are there is not its concern.
func ReadScenario(from io.Reader) (s Scenario, err error) {
	text, err := io.ReadAll(io.LimitReader(from, maxScenario+1))
	switch {
	case err != nil:
		return s, fmt.Errorf("read the scenario: %w", err)
	case len(text) > maxScenario:
		return s, fmt.Errorf("%w: it has more than %d bytes", ErrScenario, maxScenario)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrScenario, err)
	}
	if s.Description == "" {
		return s, fmt.Errorf("%w: it has no description", ErrScenario)
	}
	for _, f := range s.Faults {
		if f.Name == "" || f.At < 0 || f.For <= 0 {
			return s, fmt.Errorf("%w: a fault has a name, a time at which it comes, and one for which it stays", ErrScenario)
		}
	}
	if s.Points != nil {
		return s, Curve(s.Points).Check()
	}
	return s, nil
}
