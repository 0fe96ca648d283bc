package doctor

import (
	"context"
	"fmt"
	"net/http"
)

const partAlertmanager = "Alertmanager"

func (d *doctor) alertmanager(ctx context.Context) {
	if d.cfg.Alertmanager == "" {
		return
	}
	const remedy = "Start it with `make monitoring-up`; `docker compose logs alertmanager` shows a mistake in its configuration."
	switch status, _, err := d.get(ctx, d.cfg.Alertmanager+"/-/ready"); {
	case err != nil:
		d.wrong(partAlertmanager, fmt.Sprintf("does not answer at %s: %s", d.cfg.Alertmanager, reason(err)), remedy)
	case status != http.StatusOK:
		d.wrong(partAlertmanager, fmt.Sprintf("is not ready: status %d", status), remedy)
	default:
		d.ok(partAlertmanager, "is ready at "+d.cfg.Alertmanager)
	}
}
