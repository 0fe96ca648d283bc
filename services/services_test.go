package services_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/services"
)

// Every service can be distinguished, reached and explained, and reads and writes
// topics that exist.
func TestTheRegistry(t *testing.T) {
	var topics []string
	for _, topic := range banking.Topics() {
		topics = append(topics, topic.Name)
	}
	seen := map[string]string{}
	unique := func(what, value, service string) {
		if other, found := seen[what+value]; found && value != "" {
			t.Errorf("%s and %s have the same %s, %s", other, service, what, value)
		}
		seen[what+value] = service
	}
	for _, s := range services.All() {
		unique("name", s.Name, s.Name)
		unique("address", s.Address, s.Name)
		unique("consumer group", s.Group, s.Name)
		if host, _, err := net.SplitHostPort(s.Address); err != nil || host != "127.0.0.1" {
			t.Errorf("%s listens at %q by default, want a port of 127.0.0.1", s.Name, s.Address)
		}
		if !strings.Contains(string(s.OpenAPI), "- url: http://"+s.Address+"\n") {
			t.Errorf("%s's OpenAPI document does not name the server http://%s", s.Name, s.Address)
		}
		if s.Name == "" || s.Does == "" || s.Start == nil || len(s.OpenAPI) == 0 {
			t.Errorf("%q lacks a name, what it does, a start, or its OpenAPI document", s.Name)
		}
		if (s.Group == "") != (len(s.Consumes) == 0) {
			t.Errorf("%s reads %v as group %q", s.Name, s.Consumes, s.Group)
		}
		for _, topic := range slices.Concat(s.Consumes, s.Produces) {
			if !slices.Contains(topics, topic) {
				t.Errorf("%s reads or writes %s, which is no topic", s.Name, topic)
			}
		}
		if strings.Contains(s.Example, "localhost") || s.Example != "" && !strings.Contains(s.Example, "{url}") {
			t.Errorf("%s's example %q says where it listens, want {url}", s.Name, s.Example)
		}
		if s.Flags == nil {
			continue
		}
		for _, flag := range s.Flags() {
			if name := flag.Names()[0]; !strings.HasPrefix(name, s.Name+"-") {
				t.Errorf("%s has a flag --%s, want --%s-…", s.Name, name, s.Name)
			}
		}
	}
}

// The help of a service's tokens names every route that its document says they
// guard.
func TestTokensGuardWhatTheDocumentSays(t *testing.T) {
	for _, s := range services.All() {
		var document struct {
			Paths map[string]map[string]struct{ Security []map[string]any }
		}
		if err := yaml.Unmarshal(s.OpenAPI, &document); err != nil {
			t.Fatal(err)
		}
		var want []string
		for path, operations := range document.Paths {
			for method, operation := range operations {
				guarded := slices.ContainsFunc(operation.Security, func(one map[string]any) bool { return one["token"] != nil })
				if guarded {
					want = append(want, strings.ToUpper(method)+" "+path)
				}
				if s.Outside && !guarded {
					t.Errorf("%s's %s %s needs no token, the registry says that all do", s.Name, method, path)
				}
			}
		}
		if s.Outside {
			continue // it says "everything"
		}
		got := strings.Split(s.Guards, " and ")
		slices.Sort(got)
		if slices.Sort(want); strings.Join(got, " and ") != strings.Join(want, " and ") {
			t.Errorf("%s's tokens guard %q, the registry says %q", s.Name, want, s.Guards)
		}
	}
}
