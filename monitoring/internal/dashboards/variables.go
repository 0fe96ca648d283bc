package dashboards

import (
	"encoding/json"
	"regexp"
)

// expand replaces Grafana's variables by values that Prometheus takes. One that
// is not declared stays as it is, and the query is then refused.
func (d Dashboard) expand(expr string) string {
	values := map[string]string{"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.all()
	}
	variable := regexp.MustCompile(`\$\{([A-Za-z_]\w*)(?::\w+)?\}|\$([A-Za-z_]\w*)`)
	return variable.ReplaceAllStringFunc(expr, func(found string) string {
		groups := variable.FindStringSubmatch(found)
		if value, ok := values[groups[1]+groups[2]]; ok {
			return value
		}
		return found
	})
}

// all returns what stands for every value of the variable in a regular
// expression or, for one without such a choice, its first value.
func (v Variable) all() string {
	if v.AllValue != "" {
		return v.AllValue
	}
	if v.IncludeAll {
		return ".*"
	}
	var one string
	if json.Unmarshal(v.Current.Value, &one) == nil {
		return one
	}
	return ""
}

// labelValues takes label_values(selector, label) apart; ok is false for any
// other query.
func (v Variable) labelValues() (selector, label string, ok bool) {
	var text string
	if json.Unmarshal(v.Query, &text) != nil {
		var object struct {
			Query string `json:"query"`
		}
		if json.Unmarshal(v.Query, &object) != nil {
			return "", "", false
		}
		text = object.Query
	}
	groups := regexp.MustCompile(`^label_values\((.+),\s*(\w+)\)$`).FindStringSubmatch(text)
	if groups == nil {
		return "", "", false
	}
	return groups[1], groups[2], true
}
