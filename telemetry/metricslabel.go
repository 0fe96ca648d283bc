package telemetry

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// labelled gathers from own, puts the label service on what it finds, and adds what stands in others. The label is put
// on here and not by a registerer that wraps the collectors: that would describe each series anew at each scrape, which
// is a tenth of what a page costs.
type labelled struct {
	own, others *prometheus.Registry
	label       *dto.LabelPair
}

func newLabelled(service string, own, others *prometheus.Registry) labelled {
	name := ServiceLabel
	return labelled{own: own, others: others, label: &dto.LabelPair{Name: &name, Value: &service}}
}

// Gather implements [prometheus.Gatherer].
func (l labelled) Gather() ([]*dto.MetricFamily, error) {
	others, err := l.others.Gather()
	if len(others) == 0 && err == nil {
		return l.gatherOwn()
	}
	gathered := func() ([]*dto.MetricFamily, error) { return others, err }
	return prometheus.Gatherers{prometheus.GathererFunc(l.gatherOwn), prometheus.GathererFunc(gathered)}.Gather()
}

func (l labelled) gatherOwn() ([]*dto.MetricFamily, error) {
	families, err := l.own.Gather()
	for _, family := range families {
		for _, m := range family.GetMetric() {
			m.Label = l.insert(m.GetLabel())
		}
	}
	return families, err
}

// insert returns a copy, for metrics may share their labels, with the label at its place in the order of names.
func (l labelled) insert(labels []*dto.LabelPair) []*dto.LabelPair {
	at, _ := slices.BinarySearchFunc(labels, ServiceLabel, func(pair *dto.LabelPair, name string) int {
		return strings.Compare(pair.GetName(), name)
	})
	all := make([]*dto.LabelPair, 0, len(labels)+1)
	return append(append(append(all, labels[:at]...), l.label), labels[at:]...)
}
