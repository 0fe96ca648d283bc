package doctor

import (
	"encoding/json"
	"regexp"
)

// variable is a variable of a dashboard.
type variable struct {
	Name       string `json:"name"`
	AllValue   string `json:"allValue"`
	IncludeAll bool   `json:"includeAll"`
	Current    struct {
		Value json.RawMessage `json:"value"`
	} `json:"current"`
}

// all is what stands for everything that can be chosen, or for what is chosen
// at first where only one can be.
func (v variable) all() string {
	switch {
	case v.AllValue != "":
		return v.AllValue
	case v.IncludeAll:
		return ".*"
	}
	var one string
	_ = json.Unmarshal(v.Current.Value, &one) // several are chosen, or none
	return one
}

// expand puts values in place of Grafana's variables.
func (d dashboard) expand(expr string) string {
	values := map[string]string{"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.all()
	}
	name := regexp.MustCompile(`\$(?:\{(\w+)(?::\w+)?\}|(\w+))`)
	return name.ReplaceAllStringFunc(expr, func(found string) string {
		groups := name.FindStringSubmatch(found)
		if value, ok := values[groups[1]+groups[2]]; ok {
			return value
		}
		return found
	})
}
