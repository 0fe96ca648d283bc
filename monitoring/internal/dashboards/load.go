package dashboards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Load reads every dashboard of a folder, in the order of the files' names. A
// folder without any is an error: a test of nothing would pass.
func Load(folder string) ([]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list dashboards of %s: %w", folder, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no dashboards in %s", folder)
	}
	all := make([]Dashboard, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // of the repository
		if err != nil {
			return nil, fmt.Errorf("read dashboard: %w", err)
		}
		if all[i], err = Parse(data); err != nil {
			return nil, fmt.Errorf("parse dashboard %s: %w", file, err)
		}
		all[i].File = filepath.Base(file)
	}
	return all, nil
}

// Parse reads one dashboard's JSON, of which it refuses a second value.
func Parse(data []byte) (Dashboard, error) {
	var d Dashboard
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&d); err != nil {
		return Dashboard{}, err
	}
	if decoder.More() {
		return Dashboard{}, errors.New("something follows the dashboard")
	}
	return d, nil
}

// AllPanels returns the panels that show something: those of rows too, and no
// rows.
func (d Dashboard) AllPanels() []Panel {
	var all []Panel
	for _, p := range d.Panels {
		if p.Type == "row" {
			all = append(all, p.Panels...)
			continue
		}
		all = append(all, p)
	}
	return all
}
