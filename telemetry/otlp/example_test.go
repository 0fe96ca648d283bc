package otlp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

// A service whose traces and logs go where OTEL_TRACES_EXPORTER and its like say.
func ExampleFromEnvironment() {
	_ = os.Setenv("OTEL_TRACES_EXPORTER", "none") // usually set by those who run the service
	ctx := context.Background()
	exporters, err := otlp.FromEnvironment(ctx)
	if err != nil {
		log.Fatal(err)
	}
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service: "bakery", LogWriter: io.Discard,
		SpanExporters: exporters.Spans, LogExporters: exporters.Logs,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(ctx) }() // sends what waits

	ctx, span := tel.TracerProvider().Tracer("bakery").Start(ctx, "bake")
	tel.Logger().InfoContext(ctx, "baked")
	span.End()
	tracesTo, _ := otlp.Destinations()
	fmt.Printf("traces go to %q\n", tracesTo)
	// Output: traces go to ""
}
