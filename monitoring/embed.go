// Package monitoring is data: how the system and what it runs on are watched.
// docker-compose.yml mounts these files, the command will carry some of them, and
// anybody may copy them.
//
//   - prometheus.yml says what Prometheus scrapes and how often; targets/ says
//     where, for services in containers and on the host.
//   - rules/ has what Prometheus records and alerts on, a file for each subject;
//     rules/tests/ has promtool's tests of each alert, firing and silent.
//   - slo/ has what is promised about orders, in Sloth's format; tools/slo makes
//     rules/slo.yml of it.
//   - runbooks/ has a page for each alert: what it means and what to do.
//   - alertmanager.yml says whom an alert reaches; alertmanager/ has variants with
//     e-mail and Slack, which read their secrets from secrets/.
//   - grafana/ has the dashboards, and the provisioning of data sources and
//     dashboards.
//   - jmx/ says which of Kafka's figures the JMX exporter shows, and builds its
//     image.
//   - otel-collector/ has what is merged into otel-collector.yaml for Zipkin,
//     Elasticsearch, and sampling.
//   - logging/ sets Elasticsearch and Kibana up.
//   - testdata/ has recorded pages of the exporters, which stand for them in tests.
//
// The tests beside the data need Go alone: they check it against the metrics that
// the services and exporters have, and docker-compose.yml and tools/stack.sh
// against what docs/stack.md promises. In test/live the real servers run on it.
package monitoring

import "embed"

// Files are what a program needs of the folder, under their names in it: what
// Prometheus and Alertmanager are configured with, without the targets, which
// are those of docker-compose.yml; the rules, the runbooks and the dashboards.
//
//go:embed prometheus.yml rules/*.yml alertmanager.yml alertmanager/*.yml runbooks/*.md grafana
var Files embed.FS
