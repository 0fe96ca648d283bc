package dashboards

import "encoding/json"

// Dashboard is what this package needs of a dashboard's JSON, whose names are
// those of Grafana's dashboard schema before its version 2.
type Dashboard struct {
	File        string   `json:"-"` // base name of the file
	UID         string   `json:"uid"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
	Refresh     string   `json:"refresh"`
	Links       []Link   `json:"links"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Panels []Panel `json:"panels"`
}

// Panel is one panel, or a row.
type Panel struct {
	ID          int         `json:"id"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	GridPos     Grid        `json:"gridPos"`
	DataSource  *DataSource `json:"datasource"`
	Targets     []Target    `json:"targets"`
	FieldConfig struct {
		Defaults  Defaults   `json:"defaults"`
		Overrides []Override `json:"overrides"`
	} `json:"fieldConfig"`
	Options struct {
		YAxis struct {
			Unit string `json:"unit"`
		} `json:"yAxis"`
	} `json:"options"`
	Panels []Panel `json:"panels"` // of a row
}

// Grid is a panel's place on the grid of 24 columns.
type Grid struct{ X, Y, W, H int }

// DataSource names a data source by its uid.
type DataSource struct{ Type, UID string }

// Target is one query of a panel.
type Target struct {
	RefID        string      `json:"refId"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat"`
	Instant      bool        `json:"instant"`
	Exemplar     bool        `json:"exemplar"`
	DataSource   *DataSource `json:"datasource"`
}

// Defaults is how a panel shows its values.
type Defaults struct {
	Unit       string     `json:"unit"`
	Thresholds Thresholds `json:"thresholds"`
	NoValue    string     `json:"noValue"`
	Links      []Link     `json:"links"`
}

// Thresholds colours values: the first step has no value, the others ascend.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	} `json:"steps"`
}

// Override changes some fields of a panel.
type Override struct {
	Properties []struct {
		ID    string          `json:"id"`
		Value json.RawMessage `json:"value"`
	} `json:"properties"`
}

// Link leads out of a dashboard or a panel.
type Link struct {
	Type  string   `json:"type"`
	Title string   `json:"title"`
	URL   string   `json:"url"`
	Tags  []string `json:"tags"`
}

// Annotation marks points in time on every panel.
type Annotation struct {
	Name       string      `json:"name"`
	BuiltIn    int         `json:"builtIn"`
	DataSource *DataSource `json:"datasource"`
	Expr       string      `json:"expr"`
}

// Variable is a choice at the head of a dashboard.
type Variable struct {
	Name        string          `json:"name"`
	Label       string          `json:"label"`
	Description string          `json:"description"`
	Type        string          `json:"type"`
	DataSource  *DataSource     `json:"datasource"`
	Query       json.RawMessage `json:"query"` // text, or an object whose query is the text
	IncludeAll  bool            `json:"includeAll"`
	AllValue    string          `json:"allValue"`
	Current     struct {
		Value json.RawMessage `json:"value"` // text, or a list of texts
	} `json:"current"`
}
