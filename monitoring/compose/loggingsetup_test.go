package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A curl that refuses the first time, and then answers as the two servers do.
const fakeCurl = `#!/bin/sh
echo "$*" >>"$CALLS"
[ "$(wc -l <"$CALLS")" -gt 1 ] || { echo '{"error":"no such component template"}'; exit 22; }
case "$*" in *_import*) echo "$ANSWER" ;; esac
`

// The set-up waits until Elasticsearch takes the template, and ends well only
// when Kibana took all.
func TestLoggingSetup(t *testing.T) {
	for answer, ok := range map[string]bool{`{"successCount":3,"success":true}`: true, `{"successCount":0,"success":false,"errors":[{"id":"x"}]}`: false} {
		bin := t.TempDir()
		for name, text := range map[string]string{"curl": fakeCurl, "sleep": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		calls := filepath.Join(bin, "calls")
		script, err := filepath.Abs(filepath.Join(root, logging, "setup.sh"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", script)
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "CALLS=" + calls, "ANSWER=" + answer, "ELASTICSEARCH_URL=http://e", "KIBANA_URL=http://k"}
		out, err := cmd.CombinedOutput()
		if (err == nil) != ok {
			t.Errorf("Kibana answers %s: %v, %s", answer, err, out)
		}
		asked, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(asked)), "\n")
		if len(lines) < 3 || !strings.Contains(lines[1], "PUT http://e/_index_template/vigie-logs") || !strings.Contains(lines[2], "POST http://k/api/saved_objects/_import?overwrite=true") {
			t.Errorf("it asked:\n%s", asked)
		}
	}
}
