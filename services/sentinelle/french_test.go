package sentinelle

import (
	"encoding/json"
	"html"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// The same pages are told in each language, which they name.
func TestPagesInTwoLanguages(t *testing.T) {
	for path, wants := range map[string]struct {
		status          int
		english, french []string
	}{
		"/": {200, []string{"<title>Overview · Vigie</title>", "Something is wrong", "An order has waited 45 s for its decision."},
			[]string{"<title>Vue d&#39;ensemble · Vigie</title>", "Quelque chose ne va pas", "Une commande attend sa décision depuis 45\u00a0s."}},
		"/orders": {200, []string{"1 of 40 orders", ">100.50<", "authorised"}, []string{"1 commande sur 40", ">100,50<", "autorisée", `value="100,50"`}},
		"/orders/order-7": {200, []string{"Authorised, code AUTH-1.", "100.50 €", "The payment was authorised"},
			[]string{"Autorisée, code AUTH-1.", "100,50\u00a0€", "Le paiement a été autorisé"}},
		"/orders/order-8": {404, []string{"This cannot be shown", "order-8: no such order is known"},
			[]string{"Impossible d&#39;afficher cette page", "order-8\u00a0: aucune commande de ce nom n&#39;est connue"}},
		"/alerts": {200, []string{"firing, critical</span> ServiceDown", "<p><strong>paiement &lt;is&gt; down</strong></p>"},
			[]string{"active, critique</span> ServiceDown", `<p lang="en"><strong>paiement &lt;is&gt; down</strong></p>`, "<p>Prometheus n&#39;arrive plus à lire le /metrics"}},
		"/groups": {200, []string{"no progress for 94 s", `verdict stalled">stalled<`, "Not seen: broker 2"},
			[]string{`verdict stalled">bloqué<`, "Non vu\u00a0: broker 2"}},
		"/groups/billing":       {200, []string{"How it fares", ">never<"}, []string{"Comment il va", ">jamais<", ">48213<"}},
		"/groups/nobody":        {404, []string{"The cluster has no such group"}, []string{"Le cluster n&#39;a pas de groupe de ce nom"}},
		"/runbooks/ServiceDown": {200, []string{`<article class="runbook">`}, []string{`<article class="runbook" lang="en">`, `<p lang="fr"><em>En français`}},
		"/runbooks/Nothing":     {404, []string{"no such runbook"}, []string{"aucun runbook de ce nom"}},
	} {
		for language, want := range map[string][]string{i18n.English: wants.english, "fr": wants.french} {
			b := healthyBank()
			b.list = `{"orders":[{"orderId":"order-7","userId":"u","amount":100.50,"status":"PAYMENT_AUTHORIZED","lastUpdated":"2026-03-04T11:59:00Z"}],"count":1,"totalCount":40}`
			b.stories["order-7"] = authorised
			b.set(figWaiting, place{}, 45)
			b.fire("ServiceDown", v1.AlertStateFiring)
			s := openSiteIn(t, language, b, surroundings())
			s.page.cluster = looked{round: threeGroups()}
			text := s.read(t, path, wants.status)
			for _, sentence := range append(want, `<html lang="`+language+`">`) {
				if !strings.Contains(text, sentence) {
					t.Errorf("%s in %s: no %q in %s", path, language, sentence, text)
				}
			}
		}
	}
}

// Programs are told the same in English, whatever people read.
func TestProgramsAreToldInEnglish(t *testing.T) {
	var said [2]map[string]any
	for i, language := range []string{i18n.English, "fr"} {
		b := healthyBank()
		b.away["paiement"] = true
		s := openSiteIn(t, language, b, surroundings())
		s.look(t)
		s.getJSON(t, "/state", &said[i])
	}
	english, french := string(mustJSON(t, said[0])), string(mustJSON(t, said[1]))
	if english != french || !strings.Contains(french, "Something is wrong") || !strings.Contains(french, "it does not answer: connection refused") {
		t.Errorf("in English %s, in French %s", english, french)
	}
}

// A French amount is an amount; what the script is told is for people.
func TestAnOrderIsPlacedInFrench(t *testing.T) {
	b := healthyBank()
	s := openSiteIn(t, "fr", b, surroundings())
	if w := s.ask(t, http.MethodPost, "/orders", "text/html", placeForm("100,50")); w.Code != http.StatusSeeOther || !strings.Contains(b.bodies[0], `"amount":100.50,`) {
		t.Errorf("%d, commande was sent %v", w.Code, b.bodies)
	}
	b.change(func() { b.away["commande"] = true })
	w := s.ask(t, http.MethodPost, "/orders", "application/json", placeForm("1"))
	if !strings.Contains(w.Body.String(), "commande n'a pas pris la commande\u00a0: pas de réponse\u00a0: connection refused") {
		t.Errorf("the script is told %s", w.Body)
	}
}

// The first page in French as people see it: no English word is left on it but names and
// what others say.
func TestTheFirstPageInFrench(t *testing.T) {
	changing := regexp.MustCompile(`value="[A-Z2-7]{26}"|/assets/[0-9a-f]+/`)
	english := englishWords(t)
	for name, change := range map[string]func(*bank){
		"well": func(b *bank) {
			b.list = `{"orders":[{"orderId":"order-1","userId":"u","amount":1.5,"status":"PAYMENT_REJECTED","lastUpdated":"2026-03-04T11:59:00Z"}],"count":1,"totalCount":12}`
		},
		"trouble": func(b *bank) { b.fire("ServiceDown", v1.AlertStateFiring); b.away["paiement"] = true },
		"unknown": func(b *bank) { b.deaf = true },
	} {
		b := healthyBank()
		change(b)
		s := openSiteIn(t, "fr", b, surroundings())
		r := threeGroups()
		r.At = noon().Add(-time.Second)
		s.page.cluster = looked{round: r}
		text := changing.ReplaceAllString(s.read(t, "/", http.StatusOK), "CHANGES")
		telemetrytest.Golden(t, name+".fr.html", text)
		for _, word := range words(text) {
			if english[word] {
				t.Errorf("%s: the page says %q", name, word)
			}
		}
	}
}

// words are those of a page that are read or read aloud, but for what is marked as
// English, as code, or is another's.
func words(page string) []string {
	for _, others := range []string{
		`<(\w+)[^>]* lang="en"[^>]*>[\s\S]*?</\w+>`, `<code>[^<]*</code>`, `<(script|link|meta|input)[^>]*>`,
		`take orders|show orders|decide payments`, // what the services of a test do
		`paiement &lt;is&gt; down`, `connection refused`, `no answer within`, `Prometheus does not answer|Prometheus at \S+ does not answer`,
		`no progress for 94 s with 2 members, 212 records since, last commit \S+ at 48213|nothing waits: read to \d of \d(; no members)?`, // as the test has it
		`https?://[^ <"]+`, `POST /orders`, `(orders|payments|order)\.(created|dlq|authorized|rejected)|item1, item2|order-\d+`,
	} {
		page = regexp.MustCompile(others).ReplaceAllString(page, " ")
	}
	labels := regexp.MustCompile(`aria-label="([^"]*)"`).ReplaceAllString(page, `>$1<a "`)
	text := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(labels, " "))
	return letters(text)
}

// letters are a text's words.
func letters(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
}

// englishWords are those of the English sentences that no French one has.
func englishWords(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("languages/fr.json")
	if err != nil {
		t.Fatal(err)
	}
	var sentences map[string]i18n.Sentence
	if err := json.Unmarshal(text, &sentences); err != nil {
		t.Fatal(err)
	}
	english, french := map[string]bool{}, []string{}
	for key, sentence := range sentences {
		for _, word := range letters(key) {
			english[word] = true
		}
		for _, form := range sentence.Forms {
			french = append(french, letters(form)...)
		}
	}
	for word := range english {
		if slices.Contains(french, word) {
			delete(english, word)
		}
	}
	if len(english) < 300 {
		t.Fatalf("only %d English words are known", len(english))
	}
	return english
}
