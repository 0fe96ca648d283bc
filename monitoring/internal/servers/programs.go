//go:build unix

package servers

import "context"

// Programs that [Binary] brings.
const (
	Prometheus   = "prometheus"
	Promtool     = "promtool"
	Alertmanager = "alertmanager"
	Amtool       = "amtool"
	NodeExporter = "node_exporter"
	Jaeger       = "jaeger"  // all in one, without its pages, which its module lacks
	Collector    = "otelcol" // OpenTelemetry's, with the parts in collector.yaml
)

// Versions of the modules that the programs come from. Prometheus and
// Alertmanager are those whose packages go.mod names.
const (
	prometheusModule    = "github.com/prometheus/prometheus"
	prometheusVersion   = "v0.316.0" // of Prometheus 3.16
	alertmanagerModule  = "github.com/prometheus/alertmanager"
	alertmanagerVersion = "v0.34.2"
	exporterModule      = "github.com/prometheus/node_exporter"
	exporterVersion     = "v1.12.1"
	jaegerModule        = "github.com/jaegertracing/jaeger"
	jaegerVersion       = "v1.76.0"
)

// recipe says how a program is made; another version is another program.
type recipe struct {
	version string
	build   func(ctx context.Context, output string) error
}

func recipeOf(program string) (recipe, bool) {
	if program == Collector {
		return collectorRecipe(), true
	}
	s, ok := sourceOf(program)
	return recipe{s.version, s.build}, ok
}

// source says where a program comes from.
type source struct {
	module, version, pkg string
	shown                string // as the program shows its version
	tags                 string
	// page is a file that the source embeds and the published module lacks.
	page string
}

// sourceOf knows the programs that one module holds. Without remove_all_sd
// Prometheus needs the clients of every cloud.
func sourceOf(program string) (source, bool) {
	const page = "ui/app/dist/index.html"
	s, ok := map[string]source{
		Prometheus:   {prometheusModule, prometheusVersion, "cmd/prometheus", "3.16.0", "remove_all_sd", ""},
		Promtool:     {prometheusModule, prometheusVersion, "cmd/promtool", "3.16.0", "remove_all_sd", ""},
		Alertmanager: {alertmanagerModule, alertmanagerVersion, "cmd/alertmanager", "0.34.2", "", page},
		Amtool:       {alertmanagerModule, alertmanagerVersion, "cmd/amtool", "0.34.2", "", page},
		NodeExporter: {exporterModule, exporterVersion, ".", "1.12.1", "", ""},
		Jaeger:       {jaegerModule, jaegerVersion, "cmd/all-in-one", "1.76.0", "", ""},
	}[program]
	return s, ok
}
