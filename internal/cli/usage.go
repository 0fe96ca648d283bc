package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hbollon/go-edlib"
	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Exit statuses of the command.
const (
	statusFailed = 1 // it was tried, and went wrong or says no
	statusMisuse = 2 // the command line or a setting cannot be meant so; nothing was tried
)

// misuse is an error of what was typed or set.
type misuse struct{ error }

// Unwrap returns what is wrong.
func (m misuse) Unwrap() error { return m.error }

// isMisuse says whether an error is of what was typed or set, also where that is
// found out by what the settings are for.
func isMisuse(err error) bool {
	if _, ok := errors.AsType[misuse](err); ok {
		return true
	}
	settings := []error{
		storage.ErrUnsupportedURL, kafka.ErrAddress, httpapi.ErrTokens, httpapi.ErrCertificate,
		errNeedsSpans,
	}
	return slices.ContainsFunc(settings, func(kind error) bool { return errors.Is(err, kind) })
}

func misusef(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// asMisuse marks an error of settings; nil stays nil.
func asMisuse(err error) error {
	if err == nil {
		return nil
	}
	return misuse{err}
}

// ownUsageErrors has every command of the tree return what is wrong with its
// words and flags, in our words, where the library would print pages.
func ownUsageErrors(c *cli.Command) {
	c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
		if unknown := checkArguments(c); unknown != nil {
			return unknown // its flags were looked for on another command
		}
		return asMisuse(errors.New(flagError(c, err.Error())))
	}
	for _, sub := range c.Commands {
		ownUsageErrors(sub)
	}
}

// checkArguments refuses what stands behind a command that takes nothing, or
// only names of commands. Those that take arguments look at them themselves.
func checkArguments(c *cli.Command) error {
	word := c.Args().First()
	switch {
	case !c.Args().Present():
		return nil
	case c.Root() == c:
		return misusef("there is no command %.64q; %s", word, cmp.Or(didYouMean(nearest(word, commandNames(c))), "`vigie --help` lists them"))
	case commandNames(c) != nil:
		names := commandNames(c)
		return misusef("%s has no command %.64q; %s", path(c), word, cmp.Or(didYouMean(nearest(word, names)), "it has "+listed(names)))
	case c.ArgsUsage == "":
		return misusef("%s takes no arguments, got %.64q; `vigie %[1]s --help` lists its flags", path(c), word)
	default:
		return nil
	}
}

// path is a command as it is typed, without the program's name.
func path(c *cli.Command) string {
	_, below, _ := strings.Cut(c.FullName(), " ")
	return below
}

// of begins a sentence about a command with its name; the program has none.
func of(c *cli.Command) string {
	if c.Root() == c {
		return ""
	}
	return path(c) + ": "
}

func commandNames(c *cli.Command) []string {
	var names []string
	for _, sub := range c.Commands {
		if !sub.Hidden && sub.Name != "help" {
			names = append(names, sub.Name)
		}
	}
	return names
}

// flagError says what is wrong with a flag on the command line, of which the
// library's error tells in one of three forms.
func flagError(c *cli.Command, text string) string {
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		suggestion := nearest(name, flagNames(c))
		if suggestion != "" {
			suggestion = dashed(suggestion)
		}
		lists := "`" + strings.TrimSpace("vigie "+path(c)) + " --help` lists them"
		return fmt.Sprintf("%sthere is no flag %s; %s", of(c), dashed(name), cmp.Or(didYouMean(suggestion), lists))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: "); ok {
		return fmt.Sprintf("%s%s needs a value%s", of(c), name, accepted(findFlag(c, strings.TrimLeft(name, "-"))))
	}
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		value, rest := cutQuoted(rest)
		if name, why, ok := strings.Cut(strings.TrimPrefix(rest, " for flag -"), ": "); ok {
			f := findFlag(c, name)
			return fmt.Sprintf("%s%s%s %.64q: %s", of(c), dashed(name), alsoSet(f), value, wanted(f, value, why))
		}
	}
	return of(c) + text
}

// alsoSet is the variable that sets a flag too, in brackets.
func alsoSet(f cli.Flag) string {
	if doc, ok := f.(cli.DocGenerationFlag); ok && len(doc.GetEnvVars()) > 0 {
		return " (" + doc.GetEnvVars()[0] + ")"
	}
	return ""
}

// cutQuoted reads a Go string literal at a text's start.
func cutQuoted(text string) (value, rest string) {
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", text
	}
	value, _ = strconv.Unquote(quoted) // it has just been seen to be one
	return value, text[len(quoted):]
}

// wanted says what a flag accepts, where why is the library's complaint about a
// value, and why itself where it is ours.
func wanted(f cli.Flag, value, why string) string {
	if f == nil {
		return why
	}
	var err error
	switch f.Get().(type) {
	case int, int64:
		_, err = strconv.Atoi(value)
	case uint64:
		_, err = strconv.ParseUint(value, 10, 64)
	case float64:
		_, err = strconv.ParseFloat(value, 64)
	case bool:
		_, err = strconv.ParseBool(value)
	case time.Duration:
		_, err = duration.Parse(value)
	}
	if err == nil {
		return why
	}
	return strings.TrimPrefix(accepted(f), ": ")
}

// accepted says what a flag takes, after a colon; "" where that is any text.
func accepted(f cli.Flag) string {
	if f == nil {
		return ""
	}
	switch f.Get().(type) {
	case int, int64:
		return ": want a whole number, such as 20"
	case uint64:
		return ": want a whole number that is not negative, such as 1"
	case float64:
		return ": want a number, such as 0.2"
	case bool:
		return ": want true or false"
	case time.Duration:
		return ": " + duration.ErrText.Error()
	}
	if doc, ok := f.(cli.DocGenerationFlag); ok {
		return ": " + strings.ReplaceAll(doc.GetUsage(), "`", "")
	}
	return ""
}

// findFlag returns the flag of that name that a command takes, or one below it.
func findFlag(c *cli.Command, name string) (found cli.Flag) {
	for _, f := range takenFlags(c) {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	for _, sub := range c.Commands {
		if found := findFlag(sub, name); found != nil {
			return found
		}
	}
	return nil
}

// takenFlags are a command's own flags and those that it has from above.
func takenFlags(c *cli.Command) []cli.Flag {
	flags := slices.Clone(c.Flags)
	for _, above := range c.Lineage()[1:] {
		for _, f := range above.Flags {
			if local, ok := f.(cli.LocalFlag); ok && !local.IsLocal() {
				flags = append(flags, f)
			}
		}
	}
	return flags
}

func flagNames(c *cli.Command) []string {
	names := []string{"help"}
	for _, f := range takenFlags(c) {
		names = append(names, f.Names()...)
	}
	return names
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// checkValues refuses a flag that another flag stands behind, in place of its
// value: `--data --json` would make a folder of that name.
func checkValues(c *cli.Command) error {
	names := flagNames(c)
	for _, f := range takenFlags(c) {
		value, ok := f.Get().(string)
		name, flagged := strings.CutPrefix(value, "--")
		if ok && flagged && f.IsSet() && slices.Contains(names, name) {
			return misusef("%s--%s needs a value, got the flag %s", of(c), f.Names()[0], value)
		}
	}
	return nil
}

// checkSettings refuses settings that contradict each other, or name files that
// cannot be used, before anything is started with them.
func checkSettings(c *cli.Command) error {
	if (c.String(flagHTTPCert) == "") != (c.String(flagHTTPKey) == "") {
		return misusef("there is one of %s and %s; give both or none", setting(flagHTTPCert), setting(flagHTTPKey))
	}
	_, database := databaseURL(c)
	_, security := kafkaSecurity(c)
	_, transport := clientTransport(c)
	return cmp.Or(database, security, transport)
}

// nearest returns the candidate that was most likely meant by a word, "" for
// none: one that a few wrong, missing, doubled or swapped letters make, or the
// only one of which the word is a part.
func nearest(word string, candidates []string) string {
	letters := len([]rune(word))
	best, least := "", min(max(letters/3, 1), 2)+1 // one more than is allowed
	var containing []string
	for _, c := range candidates {
		distance := edlib.OSADamerauLevenshteinDistance(strings.ToLower(word), strings.ToLower(c))
		if distance < least && distance < letters {
			best, least = c, distance
		}
		if len(word) > 2 && strings.Contains("-"+c+"-", "-"+word+"-") {
			containing = append(containing, c)
		}
	}
	if best == "" && len(containing) == 1 {
		return containing[0]
	}
	return best
}

// didYouMean asks about a suggestion, if there is one.
func didYouMean(suggestion string) string {
	if suggestion == "" {
		return ""
	}
	return "did you mean " + suggestion + "?"
}

// withHelp lets the word help ask for help wherever names of commands stand:
// `vigie help dlq show`, `vigie dlq help`, `vigie audit help`. The flag does so
// whatever else is typed. It returns the arguments with the flag in its place, the
// first command that they name, or root, and whether help is asked for.
func withHelp(root *cli.Command, args []string) (typed []string, first *cli.Command, asked bool) {
	first, named := root, root
	i := min(1, len(args))
	typed = slices.Clone(args[:i])
	for ; i < len(args); i++ {
		if isHelp(args[i]) || args[i] == "help" || args[i] == "h" && named == root {
			asked = true
			continue
		}
		sub := named.Command(args[i])
		if sub == nil {
			break
		}
		if named = sub; first == root {
			first = sub
		}
		typed = append(typed, args[i])
	}
	rest := args[i:]
	if misspelt := len(rest) > 0 && len(named.Commands) > 0 && !strings.HasPrefix(rest[0], "-"); !misspelt && slices.ContainsFunc(rest, isHelp) {
		asked, rest = true, nil
	}
	if asked && len(rest) == 0 {
		rest = []string{"--help"}
	}
	return append(typed, rest...), first, asked
}

func isHelp(word string) bool { return word == "--help" || word == "-h" }

// ownPrefixes begin the names of settings that are ours alone.
func ownPrefixes(root *cli.Command) []string {
	prefixes := []string{"VIGIE_"}
	for _, c := range root.Commands {
		if slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == c.Name+flagAddr }) {
			prefixes = append(prefixes, strings.ToUpper(c.Name)+"_")
		}
	}
	return prefixes
}

// foreignVariables are of our prefixes, and not settings of the command: the
// tests' and the tools'.
func foreignVariables() []string {
	return []string{"VIGIE_FAULT", "VIGIE_BENCH_BROKER", "VIGIE_SERVICES", "VIGIE_VERSION"}
}

// warnOfVariables names what the environment sets under one of our prefixes and
// no command reads, since it would be without effect and nobody would notice. Of
// Kafka's, which others have too, it names what is nearly one of ours.
func warnOfVariables(root *cli.Command, environment []string) (warnings []string) {
	known := append(variables(root), foreignVariables()...)
	// Kubernetes sets these for each service of a namespace.
	link := regexp.MustCompile(`_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
	prefixes := ownPrefixes(root)
	for _, setting := range environment {
		name, _, _ := strings.Cut(setting, "=")
		if slices.Contains(known, name) || link.MatchString(name) {
			continue
		}
		// Only of what looks like ours: likeness is dear, and the shell has many names.
		ours := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if !ours && !strings.HasPrefix(name, "KAFKA_") {
			continue
		}
		if like := nearest(name, known); ours || like != "" {
			warnings = append(warnings, fmt.Sprintf("%.64s is set, and no setting has that name; %s", printable(name), cmp.Or(didYouMean(like), "docs/configuration.md lists them")))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// variables are the names of all settings of a command and those below it.
func variables(c *cli.Command) []string {
	var names []string
	for _, f := range c.Flags {
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			names = append(names, doc.GetEnvVars()...)
		}
	}
	for _, sub := range c.Commands {
		names = append(names, variables(sub)...)
	}
	return names
}
