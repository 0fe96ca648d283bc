//go:build browser

package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

// noScroll says whether a page is no wider than its window.
const noScroll = `document.documentElement.scrollWidth <= window.innerWidth`

// wide names what reaches beyond the window, for messages.
const wide = `document.documentElement.scrollWidth + " of " + window.innerWidth + " " + [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth &&
	(!e.parentElement.closest(".scroll") || getComputedStyle(e).position === "absolute")).map((e) => e.outerHTML.slice(0, 120)).join("\n")`

// A page in use: an order is placed and followed without a new page, the bank
// turns out to be well, and everything that there is can be reached and used.
func TestThePageInUse(t *testing.T) {
	page, _ := startBank(t)
	b := openTab(t, page, 1280, 900)
	b.run(chromedp.Navigate(page+"/"), says("h1", "The bank, now"),
		chromedp.SetValue(`input[name=amount]`, "42.50"), chromedp.Click(`#place button`),
		says("#journey", "order-1"), says("#journey", "Kafka has it"), says("#journey", "suivi shows it."), says("#journey", "after "),
		says(`[data-part=latest]`, "order-1"), // it came by itself
		says("#state", "All is well"), says("#state", "None of"), says(`[data-part=map]`, "ready"))
	b.accessible("overview")
	b.run(chromedp.Click(`a[data-range="1h"]`), until(`document.querySelector('a[data-range="1h"]').getAttribute("aria-current") === "true"`),
		until(`document.querySelector('#graph-parts svg')?.getAttribute("aria-label")?.includes("1 hour")`))
	b.run(chromedp.Click(`a[href="/orders/order-1"]`), says("h1", "order-1"), says("main", "42.50"), says("main", "The order was taken"))
	b.accessible("an order")
	b.run(chromedp.Click(`nav a[href="/orders"]`), says("main", "1 of 1 orders"), chromedp.SetValue(`select[name=status]`, "PAYMENT_FAILED"),
		chromedp.Click(`.filter button`), says("main", "There is no such order."))
	b.accessible("orders")
	b.run(chromedp.Click(`nav a[href="/alerts"]`), says("main", "ServiceDown"))
	b.accessible("alerts")
	b.run(chromedp.Click(`a[href="/runbooks/ServiceDown"]`), says("main", "First look"))
	b.accessible("a runbook")
	b.clean()
}

// In a narrow window nothing is cut off or has to be scrolled to, dark or light.
func TestANarrowWindow(t *testing.T) {
	page, s := startBank(t)
	s.Decided(t, s.MustOrder(t, "12").OrderID)
	b := openTab(t, page, 360, 740, dark())
	for _, path := range []string{"/", "/orders", "/orders/order-1", "/alerts", "/runbooks/ServiceDown"} {
		b.run(chromedp.Navigate(page+path), until(`document.readyState === "complete"`))
		if fits, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](noScroll)); err != nil || !fits {
			beyond, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](wide))
			t.Errorf("%s has to be scrolled, %v: %s", path, err, beyond)
		}
		b.accessible("narrow " + path)
	}
	b.clean()
}

// In French, whose words are longer, the page is used as in English and fits as well.
func TestThePageInFrench(t *testing.T) {
	page, _ := startBank(t, "--lang", "fr")
	b := openTab(t, page, 360, 740)
	b.run(chromedp.Navigate(page+"/"), says("h1", "La banque en ce moment"),
		chromedp.SetValue(`input[name=amount]`, "42,50"), chromedp.Click(`#place button`),
		says("#journey", "Commande passée"), says("#journey", "order-1"), says("#journey", "suivi la montre."), says("#state", "Tout va bien"))
	for _, path := range []string{"/", "/orders", "/orders/order-1", "/groups", "/alerts", "/runbooks/ServiceDown"} {
		b.run(chromedp.Navigate(page+path), until(`document.readyState === "complete" && document.documentElement.lang === "fr"`))
		if fits, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](noScroll)); err != nil || !fits {
			beyond, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](wide))
			t.Errorf("%s has to be scrolled, %v: %s", path, err, beyond)
		}
		b.accessible("in French " + path)
	}
	b.clean()
}

// Without JavaScript an order is placed by its form and followed on its page.
func TestWithoutJavaScript(t *testing.T) {
	page, _ := startBank(t)
	b := openTab(t, page, 1024, 800, command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.run(chromedp.Navigate(page+"/"), chromedp.WaitVisible(`#place button`), chromedp.Click(`#place button`),
		chromedp.WaitVisible(`.hops`), chromedp.WaitVisible(`[data-over]`))
	b.run(says("h1", "order-1"))
	b.clean()
}

// ruler stands for a Prometheus whose one alert fires or not, as the test says.
func ruler(t *testing.T, firing *atomic.Bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := any(map[string]any{"resultType": "vector", "result": []any{}})
		switch {
		case strings.HasSuffix(r.URL.Path, "/query_range"):
			data = map[string]any{"resultType": "matrix", "result": []any{}}
		case strings.HasSuffix(r.URL.Path, "/rules"):
			alerts := []any{}
			if firing.Load() {
				alerts = append(alerts, map[string]any{
					"state": "firing", "activeAt": time.Now().Format(time.RFC3339), "value": "1", "labels": map[string]string{"severity": "critical"},
					"annotations": map[string]string{"summary": "paiement rests", "runbook_url": "https://example.org/ServiceDown.md"},
				})
			}
			data = map[string]any{"groups": []any{map[string]any{"name": "services", "file": "f", "interval": 15, "rules": []any{map[string]any{
				"type": "alerting", "name": "ServiceDown", "query": "up == 0", "duration": 30, "labels": map[string]string{"severity": "critical"}, "annotations": map[string]string{},
				"alerts": alerts, "health": "ok", "state": map[bool]string{true: "firing", false: "inactive"}[firing.Load()], "evaluationTime": 0.1, "lastEvaluation": time.Now().Format(time.RFC3339Nano),
			}}}}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A service that stops, and an alert that fires and resolves, are seen on a page
// that nobody loads again.
func TestTroubleIsSeen(t *testing.T) {
	data := t.TempDir()
	broker := bank.Launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	programs, peers := map[string]*bank.Command{}, []string{}
	for _, name := range services.All().Inside().Names() {
		p := bank.LaunchService(t, name, "--data", data, "--kafka-brokers", address)
		programs[name] = p
		peers = append(peers, name+"="+p.Stdout.Wait(t, `answers at (\S+)`, p.Done)[1])
	}
	var firing atomic.Bool
	lookout := bank.LaunchService(t, sentinelle.Name, "--sentinelle-peers", strings.Join(peers, ","), "--prometheus-url", ruler(t, &firing))
	page := lookout.Stdout.Wait(t, `answers at (\S+)`, lookout.Done)[1]

	b := openTab(t, page, 1280, 900)
	// No figure is known here, so that nothing is said to be well.
	b.run(chromedp.Navigate(page+"/"), says("#state", "Not known"), says(`[data-part=services]`, "ready"))
	firing.Store(true)
	b.run(says("#state", "Something is wrong"), says("#state", "ServiceDown fires: paiement rests."))
	b.accessible("in trouble")
	firing.Store(false)
	b.run(says("#state", "Not known"), until(`!document.querySelector("#state").innerText.includes("fires")`))
	programs[paiement.Name].Stop()
	b.run(says("#state", "Something is wrong"), says("#state", "paiement does not answer"), says(`[data-part=services]`, "away"))
	b.clean()
	if s := fmt.Sprint(lookout.Stderr); strings.Contains(s, "panic") {
		t.Error(s)
	}
}

// On the shipped rules and the engine inside: payments that fail are an alert on a
// page that nobody loads again, with its runbook, until the last letter is gone.
func TestAnAlertFiresAndResolves(t *testing.T) {
	page, s := startBank(t, "--paiement-error-rate", "1")
	s.MustOrder(t, "25")
	b := openTab(t, page, 1280, 900)
	b.run(chromedp.Navigate(page+"/alerts"), says(`[data-part=alerts]`, "1 dead letters wait in orders.dlq (authoriser)"))
	b.accessible("an alert that fires")
	purge := bank.Launch(t, "dlq", "--kafka-brokers", s.Brokers, "purge", "--yes", "--all-letters")
	if <-purge.Done; purge.Status != 0 {
		t.Fatalf("vigie dlq purge = %d: %s", purge.Status, purge.Stderr)
	}
	b.run(until(`!document.querySelector("[data-part=alerts]").innerText.includes("dead letters wait in orders.dlq")`))
	b.clean()
}
