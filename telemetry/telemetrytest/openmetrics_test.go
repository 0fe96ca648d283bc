package telemetrytest_test

import (
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// soundPage has something of everything that is allowed.
const soundPage = `# HELP orders Orders.
# TYPE orders counter
orders_total{service="a"} 3 # {trace_id="14238f770463eba2bf003d4040e387a6"} 1.0 1.7e+09
orders_total{service="b\"\\\n"} 0
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.5"} 1
wait_seconds_bucket{le="1.0"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 1.5
wait_seconds_count 2
# TYPE pause summary
pause{quantile="0.5"} NaN
pause_sum 0
pause_count 0
# TYPE build_info gauge
build_info{version="dev"} 1
# EOF
`

func TestASoundPageIsTaken(t *testing.T) {
	if err := telemetrytest.CheckOpenMetrics(soundPage); err != nil {
		t.Error(err)
	}
}

// Each change to the sound page makes it one that a strict parser refuses.
func TestStrictParsersRefuse(t *testing.T) {
	long := strings.Repeat("x", 129)
	for name, change := range map[string][2]string{
		"no end":                      {"# EOF\n", ""},
		"more after the end":          {"# EOF\n", "# EOF\nx 1\n"},
		"a gauge as a counter's":      {"# EOF", "# TYPE orders_total gauge\norders_total 1\n# EOF"},
		"a counter of a gauge's name": {"# EOF", "# TYPE build_info counter\nbuild_info_total 1\n# EOF"},
		"a gauge as a histogram's":    {"# EOF", "# TYPE wait_seconds_count gauge\nwait_seconds_count 1\n# EOF"},
		"a family torn":               {"# EOF", "# TYPE orders counter\norders_total{service=\"c\"} 1\n# EOF"},
		"two types":                   {"# TYPE orders counter\n", "# TYPE orders counter\n# TYPE orders gauge\n"},
		"a counter without _total":    {"orders_total{service=\"b", "orders{service=\"b"},
		"a negative counter":          {"} 0\n", "} -1\n"},
		"no number":                   {"} 0\n", "} none\n"},
		"a series twice":              {"wait_seconds_sum 1.5\n", "wait_seconds_sum 1.5\nwait_seconds_sum 1.5\n"},
		"a series that is nobody's":   {"# EOF", "stray 1\n# EOF"},
		"a bucket without le":         {`{le="1.0"}`, ""},
		"an le of another form":       {`le="1.0"`, `le="1"`},
		"descending buckets":          {`le="1.0"`, `le="0.1"`},
		"buckets that lose counts":    {`le="1.0"} 1`, `le="1.0"} 0`},
		"no last bucket":              {"wait_seconds_bucket{le=\"+Inf\"} 2\n", ""},
		"another count":               {"wait_seconds_count 2", "wait_seconds_count 3"},
		"a gauge's exemplar":          {`"dev"} 1`, `"dev"} 1 # {a="b"} 1.0`},
		"a long exemplar":             {`trace_id="14238f770463eba2bf003d4040e387a6"`, `t="` + long + `"`},
		"a bad escape":                {`\n"}`, `\t"}`},
		"bytes that are no text":      {`"dev"`, "\"\xff\""},
		"a blank line":                {"# TYPE pause", "\n# TYPE pause"},
		"a remark":                    {"# TYPE pause", "# remark\n# TYPE pause"},
		"a label set torn":            {"# EOF", "build_info{version=\"x\"} 1\nbuild_info{version=\"dev\"} 1\n# EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			page := strings.Replace(soundPage, change[0], change[1], 1)
			if page == soundPage {
				t.Fatal("nothing was changed")
			}
			if err := telemetrytest.CheckOpenMetrics(page); err == nil {
				t.Errorf("taken:\n%s", page)
			}
		})
	}
}
