package kafka

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// properties are server.properties of one node that is broker and controller
// at once. Every internal topic has one replica and few partitions: there is
// one node, and a start should take a moment.
func properties(folder, broker, controller string, guard *Guard) string {
	settings := map[string]string{
		"process.roles":                        "broker,controller",
		"node.id":                              "1",
		"listeners":                            "CLIENTS://" + broker + ",QUORUM://" + controller,
		"advertised.listeners":                 "CLIENTS://" + broker,
		"listener.security.protocol.map":       "CLIENTS:PLAINTEXT,QUORUM:PLAINTEXT",
		"inter.broker.listener.name":           "CLIENTS",
		"controller.listener.names":            "QUORUM",
		"controller.quorum.bootstrap.servers":  controller,
		"log.dirs":                             filepath.Join(folder, "data"),
		"auto.create.topics.enable":            "false",
		"num.network.threads":                  "2",
		"num.io.threads":                       "4",
		"log.cleaner.dedupe.buffer.size":       "2097152",
		"group.initial.rebalance.delay.ms":     "0",
		"default.replication.factor":           "1",
		"broker.session.timeout.ms":            "3000", // a killed broker comes back no sooner
		"broker.heartbeat.interval.ms":         "500",
		"offsets.topic.replication.factor":     "1",
		"offsets.topic.num.partitions":         "3",
		"transaction.state.log.num.partitions": "1",
	}
	for _, topic := range []string{"transaction.state.log", "share.coordinator.state.topic"} {
		settings[topic+".replication.factor"] = "1"
		settings[topic+".min.isr"] = "1"
	}
	guard.add(settings)
	lines := make([]string, 0, len(settings))
	for name, value := range settings {
		lines = append(lines, fmt.Sprintf("%s=%s\n", name, value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
