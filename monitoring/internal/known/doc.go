// Package known tells which metrics there are: those of the services'
// catalogue, of the exporters' recorded pages, and of the recording rules. With
// it a test sees at once when a rule or a panel asks for a metric that nobody
// has, or by a label that the metric lacks. Only tests use it.
package known
