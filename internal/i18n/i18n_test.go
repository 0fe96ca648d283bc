package i18n

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

const sentences = `{
	"%s is ready": "%s est prêt",
	"%d of %d records": {"of": 2, "one": "%d message sur %d", "other": "%d messages sur %d"},
	"%[1]s after %[2]s": "au bout de %[2]s, %[1]s",
	"%.1f ms": "%.1f ms",
	"away": "absent",
	"%s cannot be asked: %v": "impossible d'interroger %s : %v",
	"no answer": "pas de réponse",
	"%s%%": "%s %%"
}`

func folder(text string) fs.FS { return fstest.MapFS{"fr.json": {Data: []byte(text)}} }

func french(t *testing.T) *Language {
	t.Helper()
	l, err := Open(folder(sentences), "fr")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A text is English to programs, and in each reader's language to people.
func TestTextsInTwoLanguages(t *testing.T) {
	err := Errorf("%s cannot be asked: %w", "suivi", Errorf("no answer"))
	for _, tt := range []struct {
		text            Text
		english, french string
	}{
		{Textf("%s is ready", "suivi"), "suivi is ready", "suivi est prêt"},
		{Textf("%s is ready", Phrase("away")), "away is ready", "absent est prêt"},
		{Textf("%d of %d records", 1, 1), "1 of 1 records", "1 message sur 1"},
		{Textf("%d of %d records", 1, 0), "1 of 0 records", "1 message sur 0"},
		{Textf("%d of %d records", 1, 2), "1 of 2 records", "1 messages sur 2"},
		{Textf("%[1]s after %[2]s", "x", "y"), "x after y", "au bout de y, x"},
		{Textf("%.1f ms", 4.25), "4.2 ms", "4,2 ms"},
		{Textf("%s%%", Number("99.9")), "99.9%", "99,9 %"},
		{Figure("1.5"), "1.5", "1,5"},
		{ErrorText(err), "suivi cannot be asked: no answer", "impossible d'interroger suivi : pas de réponse"},
		{ErrorText(fmt.Errorf("list: %w", err)), "list: suivi cannot be asked: no answer", "list: suivi cannot be asked: no answer"},
		{ErrorText(nil), "", ""},
		{Phrase("nobody knows 100% of it"), "nobody knows 100% of it", "nobody knows 100% of it"},
		{Phrase("not there"), "not there", "not there"},
		{Textf("%s is not there", Phrase("away")), "away is not there", "absent is not there"},
		{Join(", ", Phrase("away"), Verbatim("away")), "away, away", "absent, away"},
		{Text{}, "", ""},
	} {
		if got := tt.text.String(); got != tt.english {
			t.Errorf("in English %q, want %q", got, tt.english)
		}
		if got := (*Language)(nil).Say(tt.text); got != tt.english {
			t.Errorf("without a language %q, want %q", got, tt.english)
		}
		if got := french(t).Say(tt.text); got != tt.french {
			t.Errorf("in French %q, want %q", got, tt.french)
		}
		if tt.text.IsZero() != (tt.english == "") {
			t.Errorf("%q is nothing: %t", tt.english, tt.text.IsZero())
		}
	}
}

// Programs read and write English, and what they read is told as they read it.
func TestTextsForPrograms(t *testing.T) {
	said := map[string]Text{"why": Textf("%s is ready", "suivi"), "nothing": {}}
	text, err := json.Marshal(said)
	if err != nil || string(text) != `{"nothing":"","why":"suivi is ready"}` {
		t.Fatalf("%s, %v", text, err)
	}
	var read map[string]Text
	if err := json.Unmarshal(text, &read); err != nil || !read["why"].Equal(said["why"]) || !read["nothing"].IsZero() {
		t.Errorf("read as %v, %v", read, err)
	}
}

// An error of several languages is one as any other.
func TestErrors(t *testing.T) {
	away := Errorf("no answer")
	err := Errorf("%s cannot be asked: %w", "suivi", away)
	if !errors.Is(err, away) || !errors.Is(fmt.Errorf("list: %w", err), away) {
		t.Error("what it wraps is not found")
	}
}

// What people type as a number is one.
func TestNumbersThatAreTyped(t *testing.T) {
	for typed, want := range map[string]string{"100,50": "100.50", "100.50": "100.50", "1,000.50": "1,000.50", "1,2,3": "1,2,3", "": "", "x": "x"} {
		if got := french(t).Point(typed); got != want {
			t.Errorf("%q is %q, want %q", typed, got, want)
		}
		if got := (*Language)(nil).Point(typed); got != typed {
			t.Errorf("in English %q is %q", typed, got)
		}
	}
}

// The environment's order is that of POSIX.
func TestTheLanguageThatIsWanted(t *testing.T) {
	for _, tt := range []struct{ all, messages, lang, want string }{
		{"", "", "", "en"},
		{"", "", "fr", "fr"},
		{"", "", "fr_FR.UTF-8", "fr"},
		{"", "", "fr_CA@euro", "fr"},
		{"", "", "en_GB.UTF-8", "en"},
		{"", "", "de_DE.UTF-8", "en"},
		{"", "", "C.UTF-8", "en"},
		{"", "", "nonsense!", "en"},
		{"", "fr_FR", "en_US", "fr"},
		{"C", "fr_FR", "fr_FR", "en"},
		{"fr_FR", "C", "C", "fr"},
	} {
		environment := map[string]string{"LC_ALL": tt.all, "LC_MESSAGES": tt.messages, "LANG": tt.lang}
		if got := Wanted(func(name string) string { return environment[name] }, Names(folder(sentences))); got != tt.want {
			t.Errorf("%v: %s, want %s", environment, got, tt.want)
		}
	}
}

// A file that cannot be used is said to be so when it is opened.
func TestFilesThatAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": {"other": "b"}}`:            "which argument",
		`{"a": {"of": 1, "one": "b"}}`:     `form "other"`,
		`{"a": 1}`:                         "want a sentence",
		`{`:                                "read the language",
		`{"a": {"of": 1, "other": "${b"}}`: "read the language",
	} {
		if _, err := Open(folder(text), "fr"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, name := range []string{"de", "no language"} {
		if _, err := Open(folder(sentences), name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l, err := Open(folder(sentences), English); err != nil || l.Name() != English {
		t.Errorf("English is %v, %v", l, err)
	}
	if got := french(t).Name(); got != "fr" {
		t.Errorf("French is called %s", got)
	}
}
