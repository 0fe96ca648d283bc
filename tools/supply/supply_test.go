package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mit = `MIT License

Copyright (c) 2026 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

// What may not be there is named, as is what cannot be told.
func TestLicencesAreTold(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want, problem string }{
		"known":      {"LICENSE", mit, "MIT", ""},
		"named so":   {"COPYING.txt", mit, "MIT", ""},
		"none":       {"README.md", mit, "", "no file with a licence"},
		"other text": {"LICENSE", "Do what you like, but tell nobody.", "", "0 % of its LICENSE"},
		"more text":  {"LICENSE", mit + strings.Repeat("Besides, a fee is due for each copy that is sold to a third party. ", 40), "", "is a licence that is known"},
		"not ours":   {"LICENSE", "https://www.gnu.org/licenses/agpl.txt", "", "AGPL-3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, tt.file), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := licences(map[string]string{"example.com/module": folder})
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), "example.com/module: ") || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("%v, want an error that names the module and says %q", err, tt.problem)
				}
				return
			}
			if err != nil || len(found[tt.want]) != 1 {
				t.Errorf("%v, %v, want %s", found, err, tt.want)
			}
		})
	}
}
