package monitoring_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

// variant is prometheus.yml with a file of variants/ merged over it, as docs/production.md has it done.
func variant(t *testing.T, name string) (*config.Config, []byte) {
	t.Helper()
	merged := map[string]any{}
	for _, file := range []string{"monitoring/prometheus.yml", "monitoring/variants/" + name} {
		var one map[string]any
		if err := yaml.Unmarshal([]byte(repo.Read(t, file)), &one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		merge(merged, one)
	}
	text, err := yaml.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(string(text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c, text
}

// Prometheus takes each variant, which does what it is there for, and goes on collecting and evaluating
// what prometheus.yml has it.
func TestVariantsForProduction(t *testing.T) {
	checks := map[string]func(t *testing.T, c *config.Config){
		"ha-pair.yml": func(t *testing.T, c *config.Config) {
			sent := c.AlertingConfig
			if c.GlobalConfig.ExternalLabels.Get("replica") == "" || len(sent.AlertRelabelConfigs) != 1 ||
				!sent.AlertRelabelConfigs[0].Regex.MatchString("replica") || sent.AlertRelabelConfigs[0].Regex.MatchString("cluster") {
				t.Error("the two would send different alerts")
			}
			if len(sent.AlertmanagerConfigs) != 1 {
				t.Errorf("%d lists of Alertmanagers", len(sent.AlertmanagerConfigs))
			}
		},
		"remote-write.yml": func(t *testing.T, c *config.Config) {
			if len(c.RemoteWriteConfigs) != 1 || !c.RemoteWriteConfigs[0].SendExemplars || c.GlobalConfig.ExternalLabels.Get("cluster") == "" {
				t.Errorf("%+v", c.RemoteWriteConfigs)
			}
			if a := c.RemoteWriteConfigs[0].HTTPClientConfig.Authorization; a == nil || a.CredentialsFile == "" || a.Credentials != "" {
				t.Errorf("its secret is not in a file: %+v", a)
			}
		},
		"native-histograms.yml": func(t *testing.T, c *config.Config) {
			for _, job := range c.ScrapeConfigs {
				if !job.ScrapeNativeHistogramsEnabled() || !*job.ConvertClassicHistogramsToNHCB || !*job.AlwaysScrapeClassicHistograms {
					t.Errorf("job %s does not store both", job.JobName)
				}
			}
		},
		"retention.yml": func(t *testing.T, c *config.Config) {
			if r := c.StorageConfig.TSDBConfig.Retention; time.Duration(r.Time) != 15*24*time.Hour || int64(r.Size) != 20<<30 {
				t.Errorf("it keeps %+v", r)
			}
		},
	}
	for _, path := range files(t, "variants/*.yml") {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			check := checks[name]
			if check == nil {
				t.Fatal("nothing says what it is for")
			}
			if !strings.Contains(repo.Read(t, "docs/production.md"), "monitoring/variants/"+name) {
				t.Error("docs/production.md does not name it")
			}
			c, _ := variant(t, name)
			check(t, c)
			shipped := prometheus(t)
			if len(c.ScrapeConfigs) != len(shipped.ScrapeConfigs) || len(c.RuleFiles) != len(shipped.RuleFiles) || c.StorageConfig.ExemplarsConfig == nil {
				t.Error("it takes something away")
			}
		})
	}
}

// The trial's certificates are for their hosts, and of one authority; a second run keeps them.
func TestTrialCertificates(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here")
	}
	folder := t.TempDir()
	run := func() {
		command := exec.CommandContext(t.Context(), "sh", repo.Path(t, "tools/trial-certs.sh"), folder, "services=commande,suivi", "client")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run()
	authority := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil || !authority.AppendCertsFromPEM(text) {
		t.Fatalf("no authority: %v", err)
	}
	for name, host := range map[string]string{"services": "suivi", "client": "client"} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			for _, h := range []string{host, "localhost", "127.0.0.1"} {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: h, Roots: authority, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
					t.Errorf("%s for %s: %v", name, h, err)
				}
			}
		}
		if info, err := os.Stat(filepath.Join(folder, name+".key")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s.key: %v, %v", name, info.Mode(), err)
		}
	}
	run()
	if again, err := os.ReadFile(filepath.Join(folder, "ca.crt")); err != nil || !bytes.Equal(again, text) {
		t.Errorf("a second run made another authority: %v", err)
	}
}
