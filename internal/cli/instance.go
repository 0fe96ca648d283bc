package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/kafka"
)

const (
	flagPortBase = "port-base"
	// portsApart is how far the default ports of two instances lie apart: 3001
	// and 9092 become 1 and 92 above the base.
	portsApart = 1000
)

func portBaseFlag() cli.Flag {
	return &cli.IntFlag{
		Name: flagPortBase, Sources: cli.EnvVars("VIGIE_PORT_BASE"), HideDefault: true, Category: "Process",
		Usage: "`N` moves every port that is not set: the services listen on N+1 to N+5, Prometheus on N+90, the embedded broker on N+92",
		Validator: func(n int) error {
			if n < 1 || n > 1<<16-portsApart {
				return fmt.Errorf("want a number from 1 to %d, such as 4000", 1<<16-portsApart)
			}
			return nil
		},
	}
}

// listenAddress is where the part with that flag listens: where the flag says, or
// by its default, moved by --port-base.
func listenAddress(c *cli.Command, flag string) string {
	address, base := c.String(flag), c.Int(flagPortBase)
	if base == 0 || c.IsSet(flag) {
		return address
	}
	host, text, err := net.SplitHostPort(address)
	port, notNumber := strconv.Atoi(text)
	if err != nil || notNumber != nil {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(base+port%portsApart))
}

// announce leaves word in the data folder of where the parts are. Where that
// fails, all runs well, and tools have to be told.
func (p *parts) announce(ctx context.Context) error {
	i := instance.Instance{
		Version: programVersion(), PID: os.Getpid(), Started: time.Now().UTC(),
		Kafka: p.brokers, OwnBroker: len(brokers(p.c)) == 0, Prometheus: reachable(p.around.PrometheusURL),
		OwnPrometheus: p.prometheus != nil, Demo: p.around.Demo,
	}
	if path := p.c.String(flagHTTPCert); path != "" {
		i.Certificate, _ = filepath.Abs(path) // "" where there is no folder to begin with
	}
	for _, s := range p.all() {
		i.Services = append(i.Services, instance.Service{Name: s.Name(), URL: reachable(s.URL())})
	}
	for _, s := range p.registry.Outside() {
		i.Page = i.URL(s.Name)
	}
	running, err := instance.Announce(ctx, p.c.String(flagData), i)
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintf(p.c.Root().Writer, "Tools will not find this instance by --%s: %s\n", flagData, printable(plain(err)))
		}
		return nil
	}
	p.undo = append(p.undo, func(context.Context) error { return running.Close() })
	return nil
}

// reachable is a URL for others to send requests to: not to an address that is one
// to listen on, such as 0.0.0.0, and with nobody's password.
func reachable(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.User = nil
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	return u.String()
}

const flagPage = "page-url"

// brokerOfInstance is the help of a flag whose default is the running instance's
// broker.
func brokerOfInstance() string {
	return "that of the instance which runs in --" + flagData + ", else " + defaultBroker
}

func instanceFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagData, Sources: cli.EnvVars(variableData), Value: defaultData, Category: "Where to ask",
		Usage: "`FOLDER` of the running instance that is asked, unless flags or variables name its parts",
	}
}

// onInstance has a tool ask the instance that runs in the data folder, wherever
// no flag and no variable says otherwise; its command has the flag for that. Where
// nothing answers it says whether an instance was found.
func onInstance(action cli.ActionFunc) cli.ActionFunc {
	return func(ctx context.Context, c *cli.Command) error {
		chosen := len(brokers(c)) > 0
		i, missing := instance.Read(c.String(flagData))
		if missing == nil {
			adopt(c, i)
		}
		err := action(ctx, c)
		if !chosen && missing != nil && (errors.Is(err, kafka.ErrUnreachable) || errors.Is(err, errUnhealthy)) {
			return fmt.Errorf("%w; %w", err, missing)
		}
		return err
	}
}

// adopt sets the flags that nobody has set, of those that the command has, to
// what the instance says.
func adopt(c *cli.Command, i instance.Instance) {
	set := func(flag, value string) {
		if value != "" && !c.IsSet(flag) {
			_ = c.Set(flag, value) // an error says that the command has no such flag
		}
	}
	set(flagBrokers, strings.Join(i.Kafka, ","))
	set(flagHTTPCA, i.Certificate)
	set(flagPrometheus, i.Prometheus)
	set(flagPage, i.Page)
	set(flagSuiviURL, i.URL("suivi"))
	for _, s := range i.Services {
		if u, err := url.Parse(s.URL); err == nil {
			set(s.Name+flagAddr, u.Host)
		}
	}
	if i.Prometheus == "" || i.OwnPrometheus { // the rest of the stack is not meant to run, unless it is named
		for _, flag := range []string{flagAlertmanager, flagGrafana, flagJMX, flagNode, flagDashboards} {
			if !c.IsSet(flag) {
				_ = c.Set(flag, "")
			}
		}
	}
}
