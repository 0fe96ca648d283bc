package dashboards

import (
	"errors"
	"fmt"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

// Check reports everything wrong with a set of dashboards, given the metrics
// that exist and the folder that links to the repository lead into.
func Check(all []Dashboard, metrics known.Metrics, repository string) error {
	var errs []error
	uids := map[string]string{}
	for _, d := range all {
		if other, taken := uids[d.UID]; d.UID == "" || taken {
			errs = append(errs, fmt.Errorf("%s: uid %q is missing or that of %s", d.File, d.UID, other))
		}
		uids[d.UID] = d.File
		if err := errors.Join(
			checkLayout(d), checkDataSources(d), checkPanels(d),
			checkQueries(d, metrics), checkVariables(d, metrics), checkLinks(d, all, repository),
		); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.File, err))
		}
	}
	return errors.Join(errs...)
}

// problems collects what is wrong with one part of a dashboard.
type problems []error

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p problems) err() error { return errors.Join(p...) }
