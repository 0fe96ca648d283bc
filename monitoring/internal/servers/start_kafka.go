//go:build unix

package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Kafka is a broker with JMX.
type Kafka struct {
	*Server
	// JMX is where it answers the exporter, host:port.
	JMX string
}

// StartKafka starts a one-node broker with an empty log.
func StartKafka(t testing.TB) *Kafka {
	t.Helper()
	j, err := findJava(t.Context(), kafkaPOM)
	check(t, err)
	folder, broker, jmx := t.TempDir(), address(t), address(t)
	properties, log := filepath.Join(folder, "server.properties"), filepath.Join(folder, "log4j2.properties")
	if err := errors.Join(
		os.WriteFile(properties, []byte(kafkaProperties(folder, broker, address(t))), 0o600),
		os.WriteFile(log, logging, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	jvm := []string{"-Dlog4j2.configurationFile=" + log, "-cp", filepath.Join(j.libs, "*")}
	format := slices.Concat(jvm, []string{"kafka.tools.StorageTool", "format", "--standalone", "--cluster-id", clusterID(), "--config", properties})
	if output, err := exec.CommandContext(t.Context(), j.program, format...).CombinedOutput(); err != nil { //nolint:gosec // our own
		t.Fatalf("format broker's log: %v\n%s", err, output)
	}
	// G1, as in the broker's own start script, so that the JVM's figures are
	// those of a usual broker.
	args := slices.Concat([]string{"-Xmx512m", "-XX:+UseG1GC"}, jmxOptions(jmx), jvm, []string{"kafka.Kafka", properties})
	return &Kafka{start(t, "kafka", broker, connects(broker), j.program, args...), jmx}
}

// StartJMXExporter starts the exporter's http server with a configuration file
// that names the broker's JMX address.
func StartJMXExporter(t testing.TB, address, config string) *Server {
	t.Helper()
	j, err := findJava(t.Context(), kafkaPOM)
	check(t, err)
	jar, err := j.jar(exporterJar)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, "jmx exporter", address, answers("http://"+address+"/metrics"),
		j.program, "-Xmx64m", "-jar", jar, address, config)
}

// jmxOptions open JMX on loopback. The JVM opens one more port, on every
// address, which cannot be helped; it is of no use without the first.
func jmxOptions(address string) []string {
	host, port, _ := strings.Cut(address, ":")
	var options []string
	for name, value := range map[string]string{
		"port": port, "rmi.port": port, "host": host, "authenticate": "false", "ssl": "false",
	} {
		options = append(options, "-Dcom.sun.management.jmxremote."+name+"="+value)
	}
	return append(options, "-Djava.rmi.server.hostname="+host)
}

// clusterID makes one; ids that begin with a dash would be taken for an option.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// connects asks whether something listens.
func connects(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// kafkaProperties are those of one node that is broker and controller at once,
// with one replica of everything.
func kafkaProperties(folder, broker, controller string) string {
	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		"listeners=CLIENTS://" + broker + ",QUORUM://" + controller,
		"advertised.listeners=CLIENTS://" + broker,
		"listener.security.protocol.map=CLIENTS:PLAINTEXT,QUORUM:PLAINTEXT",
		"inter.broker.listener.name=CLIENTS",
		"controller.listener.names=QUORUM",
		"controller.quorum.bootstrap.servers=" + controller,
		"log.dirs=" + filepath.Join(folder, "data"),
		"auto.create.topics.enable=false",
		"log.cleaner.dedupe.buffer.size=2097152",
		"group.initial.rebalance.delay.ms=0",
		"default.replication.factor=1",
		"offsets.topic.num.partitions=3",
	}
	for _, topic := range []string{"offsets.topic", "transaction.state.log", "share.coordinator.state.topic"} {
		lines = append(lines, topic+".replication.factor=1")
		if topic != "offsets.topic" {
			lines = append(lines, topic+".min.isr=1")
		}
	}
	return fmt.Sprintln(strings.Join(lines, "\n"))
}
