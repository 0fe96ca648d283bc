package known

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// recorded notes the series of a file's recording rules; their labels are not
// known.
func (m Metrics) recorded(path string) error {
	groups, err := Rules(path)
	if err != nil {
		return err
	}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if rule.Record != "" {
				m[rule.Record] = nil
			}
		}
	}
	return nil
}

// Rules parses a file of rules as Prometheus does.
func Rules(path string) (*rulefmt.RuleGroups, error) {
	groups, errs := rulefmt.ParseFile(path, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("rules %s: %w", path, err)
	}
	return groups, nil
}
