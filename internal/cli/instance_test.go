package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/kafka"
)

// askTool runs a tool that finds nobody, and returns whom it asked and its error.
func askTool(t *testing.T, args ...string) (asked, failure string) {
	t.Helper()
	flags := append(kafkaFlags(brokerOfInstance()), instanceFlag(), addrFlag("commande", "127.0.0.1:3001"), urlFlag(flagPrometheus, "", "Prometheus"))
	c := &cli.Command{Name: "tool", Flags: flags, Action: onInstance(func(_ context.Context, c *cli.Command) error {
		asked = fmt.Sprint(brokers(c), " ", c.String("commande-addr"), " ", c.String(flagPrometheus))
		return fmt.Errorf("connect: %w", kafka.ErrUnreachable)
	})}
	err := c.Run(t.Context(), append([]string{"tool"}, args...))
	if err == nil {
		t.Fatal("the tool has found somebody")
	}
	return asked, err.Error() + hint(err)
}

// A tool asks the instance of its folder; what is said by flags or variables goes
// before it, part by part; and where there is none it says so.
func TestToolsAskTheInstanceOfTheirFolder(t *testing.T) {
	dir := t.TempDir()
	if _, failure := askTool(t, "--data", dir); !strings.Contains(failure, "no instance runs in "+dir+"; start everything with `vigie up`") {
		t.Errorf("without an instance: %s", failure)
	}
	running, err := instance.Announce(t.Context(), dir, instance.Instance{
		Kafka: []string{"127.0.0.1:19092", "127.0.0.1:19093"}, Prometheus: "http://127.0.0.1:4090",
		Services: []instance.Service{{Name: "commande", URL: "http://127.0.0.1:4001"}, {Name: "suivi", URL: "http://127.0.0.1:4002"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = running.Close() }()
	asked, failure := askTool(t, "--data", dir)
	if asked != "[127.0.0.1:19092 127.0.0.1:19093] 127.0.0.1:4001 http://127.0.0.1:4090" || strings.Contains(failure, "no instance") {
		t.Errorf("it asked %s: %s", asked, failure)
	}
	t.Setenv("KAFKA_BROKERS", "k:1")
	asked, failure = askTool(t, "--data", dir, "--commande-addr", "c:2")
	if asked != "[k:1] c:2 http://127.0.0.1:4090" || strings.Contains(failure, "no instance") {
		t.Errorf("with settings it asked %s: %s", asked, failure)
	}
	if _, failure = askTool(t, "--data", filepath.Join(dir, "other")); strings.Contains(failure, "no instance") {
		t.Errorf("a broker that was named does not answer, and it speaks of an instance: %s", failure)
	}
}

// Beside an instance with a Prometheus of its own, the rest of the stack is looked
// at only where somebody names it.
func TestTheStackIsLookedForWhereItIsMeantToRun(t *testing.T) {
	for name, tt := range map[string]struct {
		instance instance.Instance
		args     []string
		want     string
	}{
		"all in one process": {instance.Instance{Prometheus: "http://p:9090", OwnPrometheus: true}, nil, "http://p:9090  "},
		"no Prometheus":      {instance.Instance{}, nil, "http://p:1  "},
		"with the stack":     {instance.Instance{Prometheus: "http://p:9090"}, nil, "http://p:9090 http://g:3000 http://n:9100"},
		"named":              {instance.Instance{OwnPrometheus: true, Prometheus: "http://p:9090"}, []string{"--" + flagGrafana, "http://other:1"}, "http://p:9090 http://other:1 "},
	} {
		var got string
		c := &cli.Command{
			Name: "tool", Flags: []cli.Flag{
				urlFlag(flagPrometheus, "http://p:1", "Prometheus"), urlFlag(flagGrafana, "http://g:3000", "Grafana"), urlFlag(flagNode, "http://n:9100", "the node exporter"),
			},
			Action: func(_ context.Context, c *cli.Command) error {
				adopt(c, tt.instance)
				got = c.String(flagPrometheus) + " " + c.String(flagGrafana) + " " + c.String(flagNode)
				return nil
			},
		}
		if err := c.Run(t.Context(), append([]string{"tool"}, tt.args...)); err != nil || got != tt.want {
			t.Errorf("%s: it looks at %q, want %q, %v", name, got, tt.want, err)
		}
	}
}

// Every port that is not set moves, and stays apart from another instance's.
func TestPortBase(t *testing.T) {
	for _, test := range []struct{ flag, value, base, set, want string }{
		{"commande-addr", "127.0.0.1:3001", "4000", "", "127.0.0.1:4001"},
		{flagBrokerAddr, defaultBroker, "4000", "", "127.0.0.1:4092"},
		{flagPrometheusAddr, defaultPrometheusAddr, "4000", "", "127.0.0.1:4090"},
		{flagPrometheusAddr, defaultPrometheusAddr, "4000", "127.0.0.1:9090", "127.0.0.1:9090"},
		{"commande-addr", "127.0.0.1:3001", "", "", "127.0.0.1:3001"},
	} {
		var got string
		c := &cli.Command{Name: "tool", Flags: []cli.Flag{portBaseFlag(), &cli.StringFlag{Name: test.flag, Value: test.value}}, Action: func(_ context.Context, c *cli.Command) error {
			got = listenAddress(c, test.flag)
			return nil
		}}
		args := []string{"tool"}
		if test.base != "" {
			args = append(args, "--port-base", test.base)
		}
		if test.set != "" {
			args = append(args, "--"+test.flag, test.set)
		}
		if err := c.Run(t.Context(), args); err != nil || got != test.want {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
}

func TestOthersReachAnInstance(t *testing.T) {
	for text, want := range map[string]string{
		"http://0.0.0.0:3001": "http://127.0.0.1:3001", "https://[::]:3001": "https://127.0.0.1:3001", "http://10.0.0.7:3001": "http://10.0.0.7:3001",
		"http://user:secret@prometheus:9090": "http://prometheus:9090", "": "",
	} {
		if got := reachable(text); got != want {
			t.Errorf("%q is reached at %q, want %q", text, got, want)
		}
	}
}
