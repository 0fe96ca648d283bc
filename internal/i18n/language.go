package i18n

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// English is the language of texts as they are made.
const English = "en"

// extension is that of a language's file, which has the language's name.
const extension = ".json"

// Sentence is what a language says for an English one. As JSON it is a string, or
// an object with the number of the argument that decides on the form ("of", from 1)
// and the forms by CLDR's names ("one", "many", "other").
type Sentence struct {
	// Of is 0 where there is one form, which is called other.
	Of    int
	Forms map[string]string
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Sentence) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*s = Sentence{Forms: map[string]string{"other": one}}
		return nil
	}
	of := struct {
		Of               int
		One, Many, Other *string
	}{}
	if err := json.Unmarshal(text, &of); err != nil {
		return fmt.Errorf("want a sentence, or its forms: %w", err)
	}
	*s = Sentence{Of: of.Of, Forms: map[string]string{}}
	for form, text := range map[string]*string{"one": of.One, "many": of.Many, "other": of.Other} {
		if text != nil {
			s.Forms[form] = *text
		}
	}
	if of.Of < 1 || of.Other == nil {
		return errors.New(`a sentence of several forms says "of" which argument they are, and has the form "other"`)
	}
	return nil
}

// message is the sentence as golang.org/x/text has it.
func (s Sentence) message() catalog.Message {
	if s.Of == 0 {
		return catalog.String(s.Forms["other"])
	}
	var cases []any
	for _, form := range []string{"one", "many", "other"} { // the last fits always
		if text, ok := s.Forms[form]; ok {
			cases = append(cases, form, text)
		}
	}
	return plural.Selectf(s.Of, "", cases...)
}

// Language is one that people are told things in. A nil one is English.
type Language struct {
	name    string
	says    map[string]Sentence
	point   string // its decimal separator
	printer *message.Printer
}

// Names returns the languages that a folder has, English first, which needs no file.
func Names(folder fs.FS) []string {
	names := []string{English}
	files, _ := fs.Glob(folder, "*"+extension) // the pattern is right
	for _, file := range files {
		names = append(names, strings.TrimSuffix(path.Base(file), extension))
	}
	return names
}

// Open reads a language from its file in a folder.
func Open(folder fs.FS, name string) (*Language, error) {
	if name == English || name == "" {
		return nil, nil //nolint:nilnil // it is English
	}
	tag, err := language.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("open the language %q: %w", name, err)
	}
	text, err := fs.ReadFile(folder, name+extension)
	if err != nil {
		return nil, fmt.Errorf("open the language %q: %w", name, err)
	}
	l := &Language{name: name}
	if err := json.Unmarshal(text, &l.says); err != nil {
		return nil, fmt.Errorf("read the language %q: %w", name, err)
	}
	all := catalog.NewBuilder()
	for key, sentence := range l.says {
		if err := all.Set(tag, key, sentence.message()); err != nil {
			return nil, fmt.Errorf("read the language %q: %q: %w", name, key, err)
		}
	}
	l.printer = message.NewPrinter(tag, message.Catalog(all))
	l.point = strings.Trim(l.printer.Sprintf("%.1f", 0.1), "01")
	return l, nil
}

// Name is the language's tag, such as fr.
func (l *Language) Name() string {
	if l == nil {
		return English
	}
	return l.name
}

// Say puts a text into the language. A sentence that it does not have stays English.
func (l *Language) Say(t Text) string {
	switch {
	case l == nil:
		return t.String()
	case t.format == "":
		return joined(t.args, l.argument)
	}
	args := make([]any, len(t.args))
	for i, arg := range t.args {
		args[i] = l.argument(arg)
	}
	if _, ok := l.says[t.format]; !ok {
		return fmt.Sprintf(t.format, args...)
	}
	return l.printer.Sprintf(t.format, args...)
}

// Sayf makes a sentence and says it.
func (l *Language) Sayf(format string, args ...any) string { return l.Say(Textf(format, args...)) }

// Point writes a number that somebody typed in with a decimal point, where it is one of the
// language: without one, and with one separator.
func (l *Language) Point(typed string) string {
	if l == nil || strings.Contains(typed, ".") || strings.Count(typed, l.point) != 1 {
		return typed
	}
	return strings.Replace(typed, l.point, ".", 1)
}

// argument is what stands in a sentence, in the language.
func (l *Language) argument(arg any) any {
	switch a := arg.(type) {
	case Text:
		return l.Say(a)
	case Number:
		return strings.Replace(string(a), ".", l.point, 1)
	case error:
		return l.Say(ErrorText(a))
	case fmt.Stringer:
		return a.String()
	default:
		return arg
	}
}

// Wanted is which of some languages an environment asks for, in the order of POSIX:
// LC_ALL, LC_MESSAGES, LANG. The first that is set decides; a language that is not
// there is English.
func Wanted(variable func(name string) string, names []string) string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale := variable(name); locale != "" {
			return closest(locale, names)
		}
	}
	return English
}

// closest is the language that a locale such as fr_CA.UTF-8@euro is served best by.
func closest(locale string, names []string) string {
	locale, _, _ = strings.Cut(locale, ".")
	locale, _, _ = strings.Cut(locale, "@")
	asked, err := language.Parse(locale)
	if err != nil {
		return English // C, POSIX, or none that anybody speaks
	}
	tags := make([]language.Tag, len(names))
	for i, name := range names {
		tags[i] = language.Make(name)
	}
	_, i, confidence := language.NewMatcher(tags).Match(asked)
	if confidence < language.High {
		return English
	}
	return names[i]
}
