//go:build browser

// Package browser_test drives the page with a real Chromium, as people do.
//
// main_test.go starts the browser and watches it; page_test.go uses the page;
// pictures_test.go takes the pictures of docs/images (`make pictures`).
package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

func TestMain(m *testing.M) { bank.Main(m) }

// patience is how long a step may take: a rule is looked at every 15 seconds, and
// traffic is waited for.
const patience = bank.Patience

// step is something that a browser does.
type step = chromedp.Action[chromedp.Void]

// command is a step of the browser's own protocol.
func command[P, R any](c cdp.Command[P, R], params P) step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, c, params)
		return err
	})
}

// tab is a browser's tab, with what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp's way to name a tab
	own string          // the host that may be asked

	mu     sync.Mutex
	faults []string
}

// openTab starts a browser of its own. Pages of url may be loaded, and nothing else.
func openTab(t *testing.T, address string, width, height int64, steps ...step) *tab {
	t.Helper()
	path := os.Getenv("VIGIE_CHROMIUM")
	if path == "" {
		proc.Check(t, fmt.Errorf("%w: a Chromium, which VIGIE_CHROMIUM names", proc.ErrMissing))
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true))...)
	b := &tab{t: t, own: u.Host}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithListener(b.watch))
	b.ctx = ctx
	t.Cleanup(func() { cancel(); cancelAllocator() })
	// The tab lives as long as the context of its first step.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	b.run(append([]step{
		command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(width, height),
	}, steps...)...)
	return b
}

// watch notes what a page should not do.
func (b *tab) watch(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			fault = fmt.Sprintf("console: %+v", e.Args)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			fault = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.own && u.Scheme != "data" && u.Scheme != "about" {
			fault = "request to " + e.Request.URL
		}
	}
	if fault != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fault)
	}
}

// run does steps, each until it succeeds.
func (b *tab) run(steps ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; the page had %q and says:\n%s", err, b.seen(), b.text())
	}
}

// text is what the page shows, for messages.
func (b *tab) text() (text string) {
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	text, _ = chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	return text
}

func (b *tab) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults
}

// clean fails the test where a page did what it should not.
func (b *tab) clean() {
	b.t.Helper()
	for _, fault := range b.seen() {
		b.t.Error(fault)
	}
}

// until waits until an expression is true in the page.
func until(expression string) step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for {
			if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); err == nil && ok {
				return nil // an error is that of a page that is just being left
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", expression, ctx.Err())
			}
		}
	})
}

// says waits until an element's text has a part.
func says(selector, text string) step {
	part, _ := json.Marshal(text)
	at, _ := json.Marshal(selector)
	return until(fmt.Sprintf(`(document.querySelector(%s)?.innerText ?? "").includes(%s)`, at, part))
}

// dark has the page be shown in dark colours.
func dark() step {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
}

// accessible has axe-core look at the page.
func (b *tab) accessible(where string) {
	b.t.Helper()
	path := os.Getenv("VIGIE_AXE")
	if path == "" {
		b.t.Log("not looked at by axe-core: npm could not bring it (tools/axe.sh)")
		return
	}
	source, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	type violation struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	b.run(chromedp.Steps(until(string(source) + "\n;true")))
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]violation](`axe.run().then((r) => r.violations)`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, v := range found {
		for _, node := range v.Nodes {
			b.t.Errorf("%s: %s (%s): %s\n%s", where, v.Help, v.ID, node.HTML, node.FailureSummary)
		}
	}
}

// startBank starts the whole system with its Prometheus, which a page needs to be
// well.
func startBank(t *testing.T, args ...string) (page string, b *bank.Bank) {
	t.Helper()
	s := bank.Start(t, t.TempDir(), append([]string{"--prometheus-addr", "127.0.0.1:0"}, args...)...)
	return strings.TrimSuffix(s.URLs[sentinelle.Name], "/"), s
}
