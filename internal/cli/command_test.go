package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/services"
)

// Every command explains itself.
func TestHelp(t *testing.T) {
	for _, c := range newCommand(services.All(), nil, nil, nil).Commands {
		var out bytes.Buffer
		status := Run(t.Context(), services.All(), []string{"vigie", c.Name, "--help"}, nil, &out, &out)
		text := out.String()
		if status != 0 || !strings.Contains(text, c.Usage) {
			t.Errorf("vigie %s --help = %d:\n%s", c.Name, status, text)
		}
		for _, f := range c.Flags {
			if !strings.Contains(text, "--"+f.Names()[0]) {
				t.Errorf("vigie %s --help does not explain --%s", c.Name, f.Names()[0])
			}
		}
	}
}

func TestDLQCommandsExplainThemselves(t *testing.T) {
	for _, c := range dlqCommand().Commands {
		var out bytes.Buffer
		status := Run(t.Context(), services.All(), []string{"vigie", "dlq", c.Name, "--help"}, nil, &out, &out)
		text := out.String()
		if status != 0 || !strings.Contains(text, c.Usage) || !strings.Contains(text, "   vigie dlq "+c.Name+" ") || !strings.Contains(text, "--kafka-brokers") {
			t.Errorf("vigie dlq %s --help = %d:\n%s", c.Name, status, text)
		}
		for _, f := range c.Flags {
			if !strings.Contains(text, "--"+f.Names()[0]) {
				t.Errorf("vigie dlq %s --help does not explain --%s", c.Name, f.Names()[0])
			}
		}
	}
}
