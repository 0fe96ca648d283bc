package commande

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
)

// retryAfter is what a client is told to wait when Kafka does not answer.
const retryAfter = 2 * time.Second

// headerReplayed marks an answer that was given before, under the same key.
const headerReplayed = "Idempotent-Replayed"

// What became of a request whose key had been used before.
const (
	repeatReplayed = "replayed"
	repeatBusy     = "in_progress"
	repeatOther    = "mismatch"
)

// repeats are all of them: each is exported as zero from the start.
func repeats() []string { return []string{repeatReplayed, repeatBusy, repeatOther} }

func (o *orders) repeat(ctx context.Context, outcome string) {
	o.repeated.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// fail answers an order that was not placed, or not for certain.
func (o *orders) fail(ctx context.Context, w http.ResponseWriter, event banking.OrderCreated, err error) {
	if errors.Is(err, errOtherRequest) {
		o.repeat(ctx, repeatOther)
		httpapi.WriteProblem(w, httpapi.Problem{
			Status: http.StatusUnprocessableEntity,
			Detail: "This " + headerKey + " was used for an order with other members; a new order takes a new key.",
		})
		return
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		o.repeat(ctx, repeatBusy)
		httpapi.WriteProblem(w, httpapi.Problem{
			Status:     http.StatusConflict,
			Detail:     "A request with this " + headerKey + " is under way; ask again with the same key.",
			RetryAfter: busy.left,
		})
		return
	}
	o.log.ErrorContext(ctx, "order not acknowledged", "order_id", event.OrderID, "error", err)
	httpapi.WriteProblem(w, httpapi.Problem{
		Status:     http.StatusServiceUnavailable,
		Detail:     "The order could not be confirmed in time. It may or may not have been taken; with an " + headerKey + ", asking again is safe.",
		RetryAfter: retryAfter,
	})
}

// readOrder parses the body, which the router has read within its bounds.
func readOrder(r *http.Request) (banking.OrderRequest, error) {
	body, err := httpapi.Body(r)
	if err != nil {
		return banking.OrderRequest{}, err
	}
	return banking.ParseOrderRequest(body)
}

// refuse answers an order that cannot be taken, naming the field.
func refuse(w http.ResponseWriter, err error) {
	p := httpapi.Problem{Status: http.StatusBadRequest, Detail: "The body could not be read."}
	if errors.Is(err, errKey) {
		p.Detail = fmt.Sprintf("The header %s is to be one key of 1 to %d printable ASCII characters, in quotes or without.", headerKey, maxKey)
	}
	if f, ok := errors.AsType[*banking.FieldError](err); ok {
		p.Detail, p.Field, p.Problem, p.Accepted = f.Error(), f.Field, f.Problem, f.Accepted
	}
	httpapi.WriteProblem(w, p)
}
