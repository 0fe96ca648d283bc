//go:build !race || whole

package system_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// span is a span as a collector gets it, with the service that made it.
type span struct {
	*tracev1.Span
	service string
}

// spans returns what services that have stopped sent: all their spans.
func (c *collector) spans(t *testing.T) (all []span) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var sent tracepb.ExportTraceServiceRequest // requests one after the other read as one
	if err := proto.Unmarshal(c.bodies["/v1/traces"], &sent); err != nil {
		t.Fatal(err)
	}
	for _, resource := range sent.ResourceSpans {
		service := ""
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				all = append(all, span{s, service})
			}
		}
	}
	return all
}

// forest writes spans as text without anything that differs from run to run.
type forest struct {
	byID     map[string]span // by span id
	children map[string][]span
}

func newForest(all []span) forest {
	f := forest{map[string]span{}, map[string][]span{}}
	for _, s := range all {
		f.byID[string(s.SpanId)] = s
		f.children[string(s.ParentSpanId)] = append(f.children[string(s.ParentSpanId)], s)
	}
	return f
}

// story writes a trace as a tree, and then the batches that link it, which are
// the roots of traces of their own. A parent that was not sent, and a link that
// leads to no span, are named "nowhere".
func (f forest) story(traceID string) string {
	var trees, batches []string
	for _, s := range f.byID {
		parent, known := f.byID[string(s.ParentSpanId)]
		switch {
		case hex.EncodeToString(s.TraceId) == traceID && len(s.ParentSpanId) == 0:
			trees = append(trees, f.tree(s, ""))
		case hex.EncodeToString(s.TraceId) == traceID && !known:
			trees = append(trees, "nowhere\n"+f.tree(s, "  "))
		case hex.EncodeToString(s.TraceId) == traceID && string(parent.TraceId) != string(s.TraceId):
			trees = append(trees, "another trace\n"+f.tree(s, "  "))
		case len(s.ParentSpanId) == 0 && f.links(s, traceID):
			batches = append(batches, f.tree(s, ""))
		}
	}
	slices.Sort(trees)
	slices.Sort(batches)
	return strings.Join(trees, "") + "\nbatches\n" + strings.Join(batches, "")
}

func (f forest) links(s span, traceID string) bool {
	return slices.ContainsFunc(s.Links, func(l *tracev1.Span_Link) bool { return hex.EncodeToString(l.TraceId) == traceID })
}

// tree writes a span and, below it, its children in the order of their text:
// services work side by side, so that there is no other.
func (f forest) tree(s span, indent string) string {
	below := make([]string, 0, len(f.children[string(s.SpanId)]))
	for _, child := range f.children[string(s.SpanId)] {
		below = append(below, f.tree(child, indent+"  "))
	}
	slices.Sort(below)
	return indent + f.line(s) + "\n" + strings.Join(below, "")
}

// line is "service name kind status {attributes} -> what it links".
func (f forest) line(s span) string {
	kind := strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"))
	status := strings.ToLower(strings.TrimPrefix(s.Status.GetCode().String(), "STATUS_CODE_"))
	if s.Status.GetMessage() != "" {
		status += "(" + s.Status.GetMessage() + ")"
	}
	out := fmt.Sprintf("%s: %s %s %s {%s}", s.service, s.Name, kind, status, attributes(s.Attributes))
	var links []string
	for _, l := range s.Links {
		target, known := f.byID[string(l.SpanId)]
		if !known || string(target.TraceId) != string(l.TraceId) {
			links = append(links, "nowhere")
			continue
		}
		links = append(links, target.service+": "+target.Name)
	}
	if len(links) > 0 {
		slices.Sort(links)
		out += " -> " + strings.Join(links, ", ")
	}
	if len(s.Events) > 0 {
		out += fmt.Sprintf(" with %d events", len(s.Events))
	}
	return out
}

// attributes writes attributes in the order of their names. Ports and sizes
// differ from run to run.
func attributes(all []*common.KeyValue) string {
	var out []string
	for _, a := range all {
		value := "*"
		if !strings.HasSuffix(a.Key, ".port") && !strings.HasSuffix(a.Key, ".size") {
			value = text(a.Value)
		}
		out = append(out, a.Key+"="+value)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func text(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	default:
		return fmt.Sprint(v)
	}
}
