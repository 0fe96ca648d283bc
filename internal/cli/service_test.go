package cli

import (
	"context"
	"slices"
	"testing"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services"
)

// A sentinelle that is told of somebody's brokers and of nothing else looks at no
// bank and asks no Prometheus.
func TestSomebodysClusterHasNoBank(t *testing.T) {
	registry := services.All()
	s := registry[slices.IndexFunc(registry, func(s services.Service) bool { return s.Name == "sentinelle" })]
	for _, tt := range []struct {
		args       []string
		peers      int
		prometheus string
	}{
		{nil, len(registry.Inside()), defaultPrometheus},
		{[]string{"--kafka-brokers", "broker:9092"}, 0, ""},
		{[]string{"--kafka-brokers", "broker:9092", "--prometheus-url", "http://prometheus:9090/"}, 0, "http://prometheus:9090"},
		{[]string{"--kafka-brokers", "broker:9092", "--sentinelle-peers", "suivi=http://bank:3002"}, 1, defaultPrometheus},
	} {
		var around service.Surroundings
		command := serviceCommand(s, registry)
		command.Action = func(_ context.Context, c *cli.Command) (err error) {
			around, err = surroundings(c, s, registry)
			return err
		}
		if err := command.Run(t.Context(), append([]string{s.Name}, tt.args...)); err != nil {
			t.Fatal(err)
		}
		if len(around.Peers) != tt.peers || around.PrometheusURL != tt.prometheus {
			t.Errorf("%v: %d peers, Prometheus %q; want %d, %q", tt.args, len(around.Peers), around.PrometheusURL, tt.peers, tt.prometheus)
		}
	}
}
