// Package dashboards reads the Grafana dashboards of this module and judges
// them without a Grafana: whether panels overlap, say what they show and in
// which unit, and whether each query is one that Prometheus takes, of metrics
// and labels that exist. A dashboard with a misspelt name loads without
// complaint and stays empty, which is seen when it is needed most.
//
// Queries lists what the panels ask, so that a test may ask a real Prometheus
// the same.
package dashboards
