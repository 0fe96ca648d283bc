package service_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// TestOrderLog has two services log the same orders.
func TestOrderLog(t *testing.T) {
	const orders = 2000
	for leftOut, least := range map[float64]int{0: orders, 0.75: orders / 5, 1: 0} {
		var logged [2]string
		for i := range logged {
			r := telemetrytest.New(t, "shop", service.Common())
			log, err := service.NewOrderLog(t.Context(), r.Logger(), r.Instruments(), leftOut)
			if err != nil {
				t.Fatal(err)
			}
			for n := range orders {
				log.Info(t.Context(), fmt.Sprint("order-", n), "settled", slog.Int("service", i))
			}
			lines := r.Logs()
			for _, line := range lines {
				logged[i] += fmt.Sprintln(line["level"], line["msg"], line["order_id"])
			}
			if n := len(lines); n < least || n > least*3/2 {
				t.Errorf("%d of %d lines with %v left out", n, orders, leftOut)
			}
			if got := r.Metric("log_lines_left_out_total", nil); got != float64(orders-len(lines)) {
				t.Errorf("%v lines are counted as left out, %d are", got, orders-len(lines))
			}
		}
		if logged[0] != logged[1] {
			t.Errorf("with %v left out the services chose different orders", leftOut)
		}
	}
	var none *service.OrderLog
	none.Info(t.Context(), "order-1", "settled") // does nothing
}
