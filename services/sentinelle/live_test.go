package sentinelle

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// A page that is kept up to date gets each part once, then those that have changed,
// and a sign of life where none has.
func TestPartsAreSentAsTheyChange(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, surroundings())
	s.look(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	sent, ended := make(chan httpapi.Event), make(chan error, 1)
	go func() {
		ended <- s.page.events(ctx, func(e httpapi.Event) error {
			select {
			case sent <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	next := func() string {
		e := <-sent
		if e.Name == "" {
			return ""
		}
		var part struct{ Part, HTML string }
		if err := json.Unmarshal([]byte(e.Data), &part); err != nil || part.HTML == "" {
			t.Errorf("event %+v: %v", e, err)
		}
		return part.Part
	}
	var first []string
	for range liveParts() {
		first = append(first, next())
	}
	if !slices.Equal(first, liveParts()) {
		t.Errorf("at first %v", first)
	}
	s.look(t)
	if got := next(); got != "" {
		t.Errorf("%s was sent again", got)
	}
	b.change(func() { b.unready["paiement"] = "kafka" })
	s.now = s.now.Add(refreshInterval)
	s.look(t)
	for _, want := range []string{"state", "map", "services"} {
		if got := next(); got != want {
			t.Errorf("%s was sent, want %s", got, want)
		}
	}
	leave()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
