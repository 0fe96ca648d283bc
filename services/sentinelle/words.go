package sentinelle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/chart"
	"github.com/vigie-dev/vigie/internal/journeys"
)

// nothing stands where a figure is not known.
const nothing = "–"

// shortDuration writes a duration for people: two or three digits and a unit.
func shortDuration(d time.Duration) string {
	switch s := d.Seconds(); {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", s*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", s*1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", s)
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", s)
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
}

// rate, count and seconds write a figure, or that it is not known.
func (n number) rate() string {
	if !n.Known {
		return nothing
	}
	return chart.Figure(n.Value) + "/s"
}

func (n number) count() string {
	if !n.Known {
		return nothing
	}
	return strconv.FormatFloat(math.Round(n.Value), 'f', 0, 64)
}

func (n number) seconds() string {
	if !n.Known {
		return nothing
	}
	if n.Value <= 0 {
		return "0 s"
	}
	return shortDuration(time.Duration(n.Value * float64(time.Second)))
}

// statusText is an order's status in words, with a mark beside it that says the
// same without colour.
func statusText(status string) string {
	switch banking.OrderStatus(status) {
	case banking.OrderStatusCreated:
		return "waiting"
	case banking.OrderStatusAuthorized:
		return "authorised"
	case banking.OrderStatusRejected:
		return "rejected"
	case banking.OrderStatusFailed:
		return "dead letter"
	default:
		return status
	}
}

// eventText is an event of an order in words.
func eventText(kind string) string {
	switch kind {
	case banking.TypeOrderCreated:
		return "The order was taken"
	case banking.TypePaymentAuthorized:
		return "The payment was authorised"
	case banking.TypePaymentRejected:
		return "The payment was rejected"
	case banking.TypePaymentFailed:
		return "The payment failed and became a dead letter"
	default:
		return kind
	}
}

// clock writes a moment for people, in UTC and to the millisecond.
func clock(t time.Time) string {
	if t.IsZero() {
		return nothing
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}

// day and moment write the same in two parts, to the second.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func moment(t time.Time) string { return t.UTC().Format(time.TimeOnly) }

// stamp writes a moment for programs.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// linkTo is an address as a browser reaches it. A name without a dot is a
// container's, whose ports are published on the machine that shows the page.
func linkTo(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if name := u.Hostname(); !strings.ContainsAny(name, ".:") && name != "localhost" {
		u.Host = net.JoinHostPort("localhost", u.Port())
	}
	return u.String()
}

// parseViews reads the templates: each page with what all have.
func parseViews() (map[string]*template.Template, error) {
	functions := template.FuncMap{
		"status": statusText, "event": eventText, "clock": clock, "day": day, "moment": moment, "stamp": stamp, "link": linkTo,
		"nothing": func() string { return nothing }, "plain": func(text string) string { return strings.ReplaceAll(text, " ", "-") },
		"add":     func(a, b int) int { return a + b },
		"seconds": secondsText, "outcomes": outcomesText,
		"number": NumberText, "span": SpanText, "catchUp": CatchUpText, "segment": url.PathEscape,
		"part": func(name string, data any) map[string]any { return map[string]any{"Name": name, "Data": data} },
	}
	version, err := assetVersion()
	if err != nil {
		return nil, err
	}
	functions["asset"] = func(name string) string { return "/assets/" + version + "/" + name }
	views := map[string]*template.Template{}
	for _, name := range []string{"home", "orders", "order", "groups", "group", "alerts", "faults", "runbook", "problem"} {
		view, err := template.New("layout.html").Funcs(functions).ParseFS(web, "web/layout.html", "web/parts.html", "web/"+name+".html")
		if err == nil {
			_, err = view.Parse(chart.Template)
		}
		if err != nil {
			return nil, fmt.Errorf("parse the page %s: %w", name, err)
		}
		views[name] = view
	}
	return views, nil
}

// assetVersion is in the addresses of the files that pages load, so that browsers
// which keep one ask for another once it has changed.
func assetVersion() (string, error) {
	sum := sha256.New()
	for _, name := range []string{"page.css", "page.js"} {
		text, err := web.ReadFile("web/assets/" + name)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}

// outcomesText says what became of orders.
func outcomesText(counted map[journeys.Outcome]int64) string {
	var all []string
	for _, outcome := range journeys.Outcomes() {
		if n := counted[outcome]; n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(outcome), "_", " ")))
		}
	}
	if len(all) == 0 {
		return "none yet"
	}
	return strings.Join(all, ", ")
}

// secondsText writes a duration in seconds for people; 0 is not known.
func secondsText(s float64) string {
	if s <= 0 {
		return nothing
	}
	return shortDuration(time.Duration(s * float64(time.Second)))
}
