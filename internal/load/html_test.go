//go:build !race || whole

package load

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The page is well formed, needs nothing from elsewhere, and has a line for what was
// measured.
func TestThePageNeedsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: 5 * time.Millisecond, lost: 1}
		cfg := b.base(t, 50, 10*time.Second)
		cfg.Name, cfg.Patience = `a<b>&"c"`, time.Second
		r := mustRun(t, t.Context(), cfg)
		r.Knee = &Knee{Rate: 10, Steps: []Step{{Rate: 10, Held: true}, {Rate: 12.5}}}
		var page strings.Builder
		if err := r.HTML(&page); err != nil {
			t.Fatal(err)
		}
		checkXML(t, page.String())
		for _, no := range []string{"<script", "<link", "<img", "<iframe", "@import", "url(", "javascript:", `a<b>`} {
			if strings.Contains(page.String(), no) {
				t.Errorf("the page has %s", no)
			}
		}
		if found := regexp.MustCompile(`(?:src|href|action)=|https?://`).FindString(page.String()); found != "" {
			t.Errorf("the page has %s", found)
		}
		for _, want := range []string{"Load: a&lt;b&gt;", "not passed; failed: visible, promised", `class="state failed"`, "Latency of orders", "CPU of each process", "Lag", "commande, suivi", `<path class="line line-2"`} {
			if !strings.Contains(page.String(), want) {
				t.Errorf("the page has no %s", want)
			}
		}
	})
}

// A run of which nothing is known has a page too, that says so.
func TestThePageOfNothing(t *testing.T) {
	var page strings.Builder
	if err := (Report{Name: Constant, Interval: 1}).HTML(&page); err != nil {
		t.Fatal(err)
	}
	checkXML(t, page.String())
	if !strings.Contains(page.String(), "Not known: there is no data of it") {
		t.Error(page.String())
	}
}

// checkXML reads a page as XML: then every element that opens closes.
func checkXML(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, page)
		}
	}
}
