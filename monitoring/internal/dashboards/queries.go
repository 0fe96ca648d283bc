package dashboards

// Query is one question that a dashboard asks Prometheus.
type Query struct {
	Dashboard string // the dashboard's title
	Panel     string // the panel's title
	Ref       string // the query's letter in the panel
	Legend    string // Grafana's legend, with {{label}} for a label's value
	Raw       string // as it stands in the file
	Expr      string // Raw with Grafana's variables replaced: a query that Prometheus takes
	Instant   bool   // asked for one point in time, not for a range
	// MayBeEmpty tells of a panel that says in words what an empty answer
	// means, as a list of firing alerts does. All others have data while the
	// system runs and is used.
	MayBeEmpty bool
}

// Queries lists every query of a dashboard's panels, in the order of the file.
// A variable stands for all its values, $__rate_interval for a minute and
// $__range for a quarter of an hour.
func Queries(d Dashboard) []Query {
	var all []Query
	for _, p := range d.AllPanels() {
		for _, t := range p.Targets {
			all = append(all, Query{
				Dashboard: d.Title, Panel: p.Title, Ref: t.RefID, Legend: t.LegendFormat,
				Raw: t.Expr, Expr: d.expand(t.Expr), Instant: t.Instant,
				MayBeEmpty: p.FieldConfig.Defaults.NoValue != "",
			})
		}
	}
	return all
}
