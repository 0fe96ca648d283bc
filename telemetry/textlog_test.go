package telemetry_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/vigie-dev/vigie/telemetry"
)

func TestTextLogsKeepTheRulesOfHandlers(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		out.Reset()
		return setup(t, telemetry.Config{Service: "s", LogWriter: &out}).Logger().Handler()
	}, func(*testing.T) map[string]any {
		return parsed(out.String())
	})
}

// parsed reads a line whose message is one word.
func parsed(line string) map[string]any {
	all := map[string]any{}
	for i, word := range strings.Fields(line)[1:] { // without the service
		key, value, pair := strings.Cut(word, "=")
		switch {
		case pair:
			at := all
			path := strings.Split(key, ".")
			for _, group := range path[:len(path)-1] {
				if at[group] == nil {
					at[group] = map[string]any{}
				}
				at, _ = at[group].(map[string]any)
			}
			at[path[len(path)-1]] = value
		case i == 0 && strings.Contains(word, ":"):
			all[slog.TimeKey] = word
		case all[slog.LevelKey] == nil:
			all[slog.LevelKey] = word
		default:
			all[slog.MessageKey] = word
		}
	}
	return all
}

func TestTextLogValues(t *testing.T) {
	for want, value := range map[string]any{
		`orders.created`:           "orders.created",
		`"two words"`:              "two words",
		`"a=b"`:                    "a=b",
		`""`:                       "",
		`"a\nb"`:                   "a\nb",
		`"\x1b[2J"`:                "\x1b[2J",
		`"say \"x\""`:              `say "x"`,
		`back\slash`:               `back\slash`,
		`é`:                        "é",
		`"\xff"`:                   "\xff",
		`-7`:                       -7,
		`7`:                        uint64(7),
		`0.25`:                     0.25,
		`true`:                     true,
		`1.5s`:                     1500 * time.Millisecond,
		`2026-02-03T04:05:06.700Z`: time.Date(2026, 2, 3, 4, 5, 6, 7e8, time.UTC),
		`"no way"`:                 errors.New("no way"),
		`<nil>`:                    nil,
		`"bytes"`:                  []byte("bytes"),
		`WARN`:                     slog.LevelWarn,
		`"[1 2]"`:                  []int{1, 2},
	} {
		var out bytes.Buffer
		log := setup(t, telemetry.Config{Service: "s", LogWriter: &out}).Logger()
		log.Info("m", "k", value)
		if !strings.HasSuffix(out.String(), " INF m k="+want+"\n") {
			t.Errorf("%#v is written as %q, want %s", value, out.String(), want)
		}
	}
}

func TestTextLogLevels(t *testing.T) {
	var out bytes.Buffer
	log := setup(t, telemetry.Config{Service: "s", LogWriter: &out, LogLevel: -5}).Logger()
	for level, want := range map[slog.Level]string{-5: "DBG-1", -4: "DBG", -3: "DBG+1", 0: "INF", 3: "INF+3", 4: "WRN", 8: "ERR", 12: "ERR+4"} {
		out.Reset()
		log.Log(t.Context(), level, "m")
		if !strings.Contains(out.String(), " "+want+" m\n") {
			t.Errorf("level %d: %q, want %s", level, out.String(), want)
		}
	}
}
