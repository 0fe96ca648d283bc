package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
)

// readers ask suivi at once.
const readers = 4

// viewOrders asks suivi about every order, one by one as a client would, and
// for their number.
func viewOrders(ctx context.Context, client *http.Client, suivi string, ids []string) (map[string]shown, int64, error) {
	var list struct{ TotalCount int64 }
	if _, err := getJSON(ctx, client, suivi+"/orders?limit=1", &list); err != nil {
		return nil, 0, err
	}
	out := map[string]shown{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, id := range ids {
		group.Go(func() error {
			s, found, err := viewOrder(ctx, client, suivi, id)
			if err == nil && found {
				mu.Lock()
				out[id] = s
				mu.Unlock()
			}
			return err
		})
	}
	return out, list.TotalCount, group.Wait()
}

func viewOrder(ctx context.Context, client *http.Client, suivi, id string) (shown, bool, error) {
	var o struct {
		OrderID, Status string
		Details         struct{ Amount json.Number }
		Events          []struct{ Type string }
	}
	status, err := getJSON(ctx, client, suivi+"/orders/"+id+"/status", &o)
	if status == http.StatusNotFound {
		return shown{}, false, nil
	}
	if err != nil {
		return shown{}, false, err
	}
	amount, err := cents(o.Details.Amount)
	if err != nil || o.OrderID != id {
		return shown{}, false, fmt.Errorf("%s: suivi shows %+v: %w", id, o, err)
	}
	s := shown{Status: o.Status, Cents: amount}
	for _, e := range o.Events {
		s.Events = append(s.Events, e.Type)
	}
	return s, true, nil
}

// viewTotals asks analyseur.
func viewTotals(ctx context.Context, client *http.Client, analyseur string) (totals, error) {
	var s struct {
		TotalTransactions, AuthorizedTransactions, RejectedTransactions int64
		TotalAmount                                                     json.Number
	}
	if _, err := getJSON(ctx, client, analyseur+"/statistics", &s); err != nil {
		return totals{}, err
	}
	amount, err := cents(s.TotalAmount)
	return totals{s.TotalTransactions, s.AuthorizedTransactions, s.RejectedTransactions, amount}, err
}

// getJSON reads a document; a status other than 200 is an error beside it.
func getJSON(ctx context.Context, client *http.Client, url string, into any) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, fmt.Errorf("read %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, fmt.Errorf("GET %s = %d: %s", url, response.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return response.StatusCode, fmt.Errorf("GET %s: %w in %s", url, err, body)
	}
	return response.StatusCode, nil
}
