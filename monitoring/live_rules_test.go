//go:build integration && unix

package monitoring_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

func rulesWork(t *testing.T, s *stack.Stack) {
	eventually(t, func(ctx context.Context) error {
		var rules struct {
			Groups []struct {
				Rules []struct{ Name, Type, Health, LastError string }
			}
		}
		if err := s.API(ctx, "/api/v1/rules", &rules); err != nil {
			return err
		}
		var errs []error
		for _, group := range rules.Groups {
			for _, rule := range group.Rules {
				if rule.Health != "ok" {
					errs = append(errs, fmt.Errorf("rule %s is %s: %s", rule.Name, rule.Health, rule.LastError))
				}
				if rule.Type == "recording" {
					errs = append(errs, hasData(ctx, s, rule.Name))
				}
			}
		}
		if want := len(alerts(t)); want == 0 || len(rules.Groups) == 0 {
			errs = append(errs, fmt.Errorf("%d groups", len(rules.Groups)))
		}
		return errors.Join(errs...)
	})
}

func hasData(ctx context.Context, s *stack.Stack, expression string) error {
	samples, err := s.Query(ctx, expression)
	if err == nil && len(samples) == 0 {
		err = fmt.Errorf("%s has no data", expression)
	}
	return err
}

// An alert on a series that never comes is silent for ever.
func seriesAreThere(t *testing.T, s *stack.Stack) {
	for _, rule := range rules(t) {
		for _, name := range selected(t, rule.Expr) {
			eventually(t, func(ctx context.Context) error { return hasData(ctx, s, name) })
		}
	}
}

// pagesAreCurrent holds the recorded pages, which stand for the servers in the
// tests without them, against the servers: see [record].
func pagesAreCurrent(t *testing.T, s *stack.Stack) {
	for name, server := range exporters(s) {
		path := "testdata/" + name + ".prom"
		page := fetch(t, server.URL("/metrics"))
		if *update {
			record(t, path, page)
		}
		recorded, err := known.Page(path)
		if err != nil {
			t.Fatal(err)
		}
		live, err := known.PageOf(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules(t) {
			for _, series := range selected(t, rule.Expr) {
				if _, there := live[series]; recorded[series] != nil && !there {
					t.Errorf("%s is in %s and not on the server's page", series, path)
				}
			}
		}
	}
}
