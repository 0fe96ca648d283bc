//go:build unix

package kafka

import (
	"context"
	"crypto/rand"
	_ "embed" // for log4j2.properties
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

//go:embed log4j2.properties
var logging []byte

// prepare configures the broker and gives it an empty log.
func (b *Broker) prepare(ctx context.Context) error {
	addresses, err := proc.FreeAddresses(2)
	if err != nil {
		return err
	}
	n := node{id: 1, clients: addresses[0], quorum: addresses[1], nodes: 1}
	return b.prepareAs(ctx, n, clusterID(), "--standalone")
}

// prepareAs is [Broker.prepare] for a node of a cluster, whose log is formatted
// with these arguments.
func (b *Broker) prepareAs(ctx context.Context, n node, cluster string, format ...string) error {
	b.address = n.clients
	settings := n.settings(b.folder)
	b.options.guard.add(settings)
	for name, text := range map[string]string{"server.properties": properties(settings), "log4j2.properties": string(logging)} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure broker: %w", err)
		}
	}
	args := append(b.jvm(quick()...), "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", b.path("server.properties"))
	args = append(args, format...)
	args = append(args, b.options.guard.users()...)
	if output, err := exec.CommandContext(ctx, b.java.Program, args...).CombinedOutput(); err != nil { //nolint:gosec // our own
		return fmt.Errorf("format broker's log: %w\n%s", err, output)
	}
	return nil
}

// clusterID is another for each cluster.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // ids that begin with a dash would be taken for an option
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// node is what distinguishes one node of a cluster from the others.
type node struct {
	id              int
	clients, quorum string // where it listens, host:port
	nodes           int    // of the cluster
	voters          string // all controllers; "" where there is one
}

// settings are server.properties of a node that is broker and controller at
// once. What is written is on a majority of the nodes, and only a node that has
// it may lead. Internal topics have few partitions: a start should take a moment.
func (n node) settings(folder string) map[string]string {
	replicas, inSync := strconv.Itoa(n.nodes), strconv.Itoa(n.nodes/2+1)
	settings := map[string]string{
		"process.roles":                        "broker,controller",
		"node.id":                              strconv.Itoa(n.id),
		"listeners":                            "CLIENTS://" + n.clients + ",QUORUM://" + n.quorum,
		"advertised.listeners":                 "CLIENTS://" + n.clients,
		"listener.security.protocol.map":       "CLIENTS:PLAINTEXT,QUORUM:PLAINTEXT",
		"inter.broker.listener.name":           "CLIENTS",
		"controller.listener.names":            "QUORUM",
		"log.dirs":                             filepath.Join(folder, "data"),
		"auto.create.topics.enable":            "false",
		"num.network.threads":                  "2",
		"num.io.threads":                       "4",
		"log.cleaner.dedupe.buffer.size":       "2097152",
		"group.initial.rebalance.delay.ms":     "0",
		"default.replication.factor":           replicas,
		"min.insync.replicas":                  inSync,
		"unclean.leader.election.enable":       "false",
		"log.retention.check.interval.ms":      "86400000", // no test waits for it, and some have old records
		"broker.session.timeout.ms":            "3000",     // a killed broker comes back no sooner
		"broker.heartbeat.interval.ms":         "500",
		"offsets.topic.replication.factor":     replicas,
		"offsets.topic.num.partitions":         "3",
		"transaction.state.log.num.partitions": "1",
	}
	for _, topic := range []string{"transaction.state.log", "share.coordinator.state.topic"} {
		settings[topic+".replication.factor"] = replicas
		settings[topic+".min.isr"] = inSync
	}
	if n.voters == "" {
		settings["controller.quorum.bootstrap.servers"] = n.quorum
	} else {
		settings["controller.quorum.voters"] = n.voters
	}
	return settings
}

// properties writes settings as Java reads them.
func properties(settings map[string]string) string {
	lines := make([]string, 0, len(settings))
	for name, value := range settings {
		lines = append(lines, fmt.Sprintf("%s=%s\n", name, value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// options are what a test may change in a broker; the zero value changes
// nothing.
type options struct {
	guard *Guard
	jmx   string // where it answers JMX, host:port
}

// jvm are options of the broker's JVM.
func (o options) jvm() []string {
	if o.jmx == "" {
		return quick()
	}
	// The JVM opens one more port, on every address, which cannot be helped; it
	// is of no use without the first.
	host, port, _ := strings.Cut(o.jmx, ":")
	return []string{
		"-XX:+UseG1GC", "-Djava.rmi.server.hostname=" + host,
		jmxRemote + "host=" + host, jmxRemote + "port=" + port, jmxRemote + "rmi.port=" + port,
		jmxRemote + "authenticate=false", jmxRemote + "ssl=false",
	}
}

const jmxRemote = "-Dcom.sun.management.jmxremote."

// quick has a JVM start quickly rather than be quick in the long run.
func quick() []string { return []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"} }

// Guard is a second listener, which shows a certificate, wants one of the
// client's, and has the client authenticate by PLAIN or SCRAM-SHA-512.
type Guard struct {
	// Authorities, PEM, signed the certificates of clients.
	Authorities string
	// Certificate is the broker's own with its key, PEM both, in one file.
	Certificate    string
	User, Password string
	// Authorized has the user do only what ACLs allow. Who comes by the other listener may do
	// everything.
	Authorized bool

	address string
}

// add adds the listener to a broker's settings.
func (g *Guard) add(settings map[string]string) {
	if g == nil {
		return
	}
	settings["listeners"] += ",GUARDED://" + g.address
	settings["advertised.listeners"] += ",GUARDED://" + g.address
	settings["listener.security.protocol.map"] += ",GUARDED:SASL_SSL"
	const modules = "org.apache.kafka.common.security."
	for name, value := range map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": g.Certificate,
		"ssl.truststore.type": "PEM", "ssl.truststore.location": g.Authorities,
		"ssl.client.auth":                           "required",
		"sasl.enabled.mechanisms":                   "PLAIN,SCRAM-SHA-512",
		"plain.sasl.jaas.config":                    modules + `plain.PlainLoginModule required user_` + g.User + `="` + g.Password + `";`,
		"scram-sha-512.sasl.jaas.config":            modules + `scram.ScramLoginModule required;`,
		"connection.failed.authentication.delay.ms": "0",
	} {
		settings["listener.name.guarded."+name] = value
	}
	if g.Authorized {
		settings["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		settings["super.users"] = "User:ANONYMOUS"
	}
}

// users are the arguments by which a log is formatted with the SCRAM user.
func (g *Guard) users() []string {
	if g == nil {
		return nil
	}
	return []string{"--add-scram", "SCRAM-SHA-512=[name=" + g.User + ",password=" + g.Password + "]"}
}
