package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

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
		if !chosen && missing != nil && (errors.Is(err, kafka.ErrUnreachable) || errors.Is(err, errUnhealthy) || errors.Is(err, errSilent)) {
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
