//go:build browser

package browser_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// trafficTime is how long orders come before a picture is taken: what a rate looks
// back over, and a little more.
const trafficTime = 70 * time.Second

// TestPictures takes the pictures of docs/images (`make pictures`): the page well,
// light and dark, narrow, an order's, and in trouble.
func TestPictures(t *testing.T) {
	folder := os.Getenv("VIGIE_PICTURES")
	if folder == "" {
		t.Skip("VIGIE_PICTURES names no folder to put pictures into")
	}
	page, _ := startBank(t, "--demo", "--paiement-latency", "20ms")
	b := openTab(t, page, 1280, 900)
	b.run(chromedp.Navigate(page+"/"), says("#state", "All is well"), chromedp.Sleep(trafficTime), says("#state", "All is well"),
		chromedp.Click(`#place button`), says("#journey", "suivi shows it."))
	b.take(folder, "page-light.png")
	b.run(dark(), chromedp.Reload(), says("#state", "All is well"))
	b.take(folder, "page-dark.png")
	b.run(chromedp.EmulateViewport(360, 740), chromedp.Reload(), says("#state", "All is well"))
	b.take(folder, "page-narrow.png")
	b.run(command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}), chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate(page+"/orders"), chromedp.Click(`#place button`), says("#journey", "suivi shows it."),
		chromedp.Click(`#journey a`), says("h1", "order-"))
	b.take(folder, "page-order.png")
}

// TestPicturesOfTrouble takes those of the page in trouble: an authoriser that
// always fails makes dead letters, and these an alert.
func TestPicturesOfTrouble(t *testing.T) {
	folder := os.Getenv("VIGIE_PICTURES")
	if folder == "" {
		t.Skip("VIGIE_PICTURES names no folder to put pictures into")
	}
	page, s := startBank(t, "--paiement-error-rate", "1")
	b := openTab(t, page, 1280, 900)
	b.run(chromedp.Navigate(page+"/"), says("#state", "All is well")) // the counters have been read as 0
	for range 12 {
		s.MustOrder(t, "25")
	}
	b.run(says("#state", "DeadLetters fires"), says(`[data-part=latest]`, "dead letter"))
	b.take(folder, "page-trouble.png")
	b.run(chromedp.Navigate(page+"/alerts"), says("main", "firing"))
	b.take(folder, "page-alerts.png")
}

// take takes a picture of the whole page.
func (b *tab) take(folder, name string) {
	b.t.Helper()
	b.run(until(`document.fonts.status === "loaded"`), until(`(window.scrollTo(0, 0), true)`))
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name), picture, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
