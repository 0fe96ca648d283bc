package sentinelle

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/chart"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// nothing stands where a figure is not known.
const nothing = "–"

// shortDuration writes a duration for people: two or three digits and a unit.
func shortDuration(d time.Duration) i18n.Text {
	switch s := d.Seconds(); {
	case d <= 0:
		return i18n.Textf("0 s")
	case d < time.Millisecond:
		return i18n.Textf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return i18n.Textf("%.1f ms", s*1000)
	case d < time.Second:
		return i18n.Textf("%.0f ms", s*1000)
	case d < 10*time.Second:
		return i18n.Textf("%.1f s", s)
	case d < 2*time.Minute:
		return i18n.Textf("%.0f s", s)
	case d < 2*time.Hour:
		return i18n.Textf("%.0f min", d.Minutes())
	default:
		return i18n.Textf("%.0f h", d.Hours())
	}
}

// rate, count and seconds write a figure, or that it is not known.
func (n number) rate() i18n.Text {
	if !n.Known {
		return i18n.Verbatim(nothing)
	}
	return i18n.Textf("%s/s", i18n.Number(chart.Figure(n.Value)))
}

func (n number) count() i18n.Text {
	if !n.Known {
		return i18n.Verbatim(nothing)
	}
	return i18n.Verbatim(strconv.FormatFloat(math.Round(n.Value), 'f', 0, 64))
}

func (n number) seconds() i18n.Text {
	if !n.Known {
		return i18n.Verbatim(nothing)
	}
	return shortDuration(time.Duration(n.Value * float64(time.Second)))
}

// statusText is an order's status in words, with a mark beside it that says the
// same without colour.
func statusText(status string) i18n.Text {
	switch banking.OrderStatus(status) {
	case banking.OrderStatusCreated:
		return i18n.Textf("waiting")
	case banking.OrderStatusAuthorized:
		return i18n.Textf("authorised")
	case banking.OrderStatusRejected:
		return i18n.Textf("rejected")
	case banking.OrderStatusFailed:
		return i18n.Textf("dead letter")
	default:
		return i18n.Verbatim(status)
	}
}

// eventText is an event of an order in words.
func eventText(kind string) i18n.Text {
	switch kind {
	case banking.TypeOrderCreated:
		return i18n.Textf("The order was taken")
	case banking.TypePaymentAuthorized:
		return i18n.Textf("The payment was authorised")
	case banking.TypePaymentRejected:
		return i18n.Textf("The payment was rejected")
	case banking.TypePaymentFailed:
		return i18n.Textf("The payment failed and became a dead letter")
	default:
		return i18n.Verbatim(kind)
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

// languages has the sentences of each language but English.
//
//go:embed languages
var languages embed.FS

// languageFiles are those files.
func languageFiles() fs.FS {
	files, err := fs.Sub(languages, "languages")
	if err != nil {
		return languages // the name is right
	}
	return files
}

// Languages returns those that the page can be shown in, English first.
func Languages() []string { return i18n.Names(languageFiles()) }

// textOf is what a template wants to have said: a sentence with what stands in it, or
// what somebody else has worded.
func textOf(what any, args []any) i18n.Text {
	text, ok := what.(i18n.Text)
	switch {
	case ok:
		return text
	case len(args) > 0:
		return i18n.Textf(fmt.Sprint(what), args...)
	default:
		return i18n.Phrase(fmt.Sprint(what))
	}
}

// inLanguage are the functions by which templates say something.
func inLanguage(in *i18n.Language) template.FuncMap {
	return template.FuncMap{
		"say": func(what any, args ...any) string { return in.Say(textOf(what, args)) }, "phrase": i18n.Phrase, "decimal": decimal,
		"status":   func(status string) string { return in.Say(statusText(status)) },
		"event":    func(kind string) string { return in.Say(eventText(kind)) },
		"seconds":  func(s float64) string { return in.Say(secondsText(s)) },
		"outcomes": func(counted map[journeys.Outcome]int64) string { return in.Say(outcomesText(counted)) },
		"span":     func(v verdicts.Span) string { return in.Say(SpanText(v)) },
		"catchUp":  func(v verdicts.Span) string { return in.Say(CatchUpText(v)) },
		"number":   func(v verdicts.Number) string { return in.Say(i18n.Phrase(NumberText(v))) },
		"gist":     func(name string) string { return gist(in, name) },
		"language": in.Name,
		// english marks what is English on a page that is not.
		"english": func() template.HTMLAttr {
			if in == nil {
				return ""
			}
			return ` lang="en"`
		},
	}
}

// decimal is a figure that somebody else has written.
func decimal(figure any) i18n.Text { return i18n.Figure(i18n.Number(fmt.Sprint(figure))) }

// parseViews reads the templates: each page with what all have.
func parseViews(in *i18n.Language) (map[string]*template.Template, error) {
	functions := inLanguage(in)
	maps.Copy(functions, template.FuncMap{
		"clock": clock, "day": day, "moment": moment, "stamp": stamp, "link": linkTo,
		"nothing": func() string { return nothing }, "plain": func(text string) string { return strings.ReplaceAll(text, " ", "-") },
		"add":     func(a, b int) int { return a + b },
		"segment": url.PathEscape,
		"part":    func(name string, data any) map[string]any { return map[string]any{"Name": name, "Data": data} },
	})
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
func outcomesText(counted map[journeys.Outcome]int64) i18n.Text {
	var all []i18n.Text
	for _, outcome := range journeys.Outcomes() {
		if n := counted[outcome]; n > 0 {
			all = append(all, i18n.Textf("%d "+strings.ReplaceAll(string(outcome), "_", " "), n))
		}
	}
	if len(all) == 0 {
		return i18n.Textf("none yet")
	}
	return i18n.Join(", ", all...)
}

// secondsText writes a duration in seconds for people; 0 is not known.
func secondsText(s float64) i18n.Text {
	if s <= 0 {
		return i18n.Verbatim(nothing)
	}
	return shortDuration(time.Duration(s * float64(time.Second)))
}
