//go:build unix

package servers

// Programs that [Binary] brings.
const (
	Prometheus   = "prometheus"
	Promtool     = "promtool"
	Alertmanager = "alertmanager"
	Amtool       = "amtool"
	NodeExporter = "node_exporter"
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
)

// source says where a program comes from.
type source struct {
	module, version, pkg string
	shown                string // as the program shows its version
	tags                 string
	// page is a file that the source embeds and the published module lacks.
	page string
}

// sourceOf knows the programs. Without remove_all_sd Prometheus needs the
// clients of every cloud.
func sourceOf(program string) (source, bool) {
	const page = "ui/app/dist/index.html"
	s, ok := map[string]source{
		Prometheus:   {prometheusModule, prometheusVersion, "cmd/prometheus", "3.16.0", "remove_all_sd", ""},
		Promtool:     {prometheusModule, prometheusVersion, "cmd/promtool", "3.16.0", "remove_all_sd", ""},
		Alertmanager: {alertmanagerModule, alertmanagerVersion, "cmd/alertmanager", "0.34.2", "", page},
		Amtool:       {alertmanagerModule, alertmanagerVersion, "cmd/amtool", "0.34.2", "", page},
		NodeExporter: {exporterModule, exporterVersion, ".", "1.12.1", "", ""},
	}[program]
	return s, ok
}
