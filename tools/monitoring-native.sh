#!/usr/bin/env bash
# Runs Prometheus, Alertmanager and the node exporter without containers, on the
# shipped configuration, against the services of `make run`. The programs are built
# from their Go modules into the user's cache, where the tests of the live
# monitoring look for them too. Alerts are logged by `vigie alerts`. PROMETHEUS,
# ALERTMANAGER, NODE_EXPORTER, ALERT_SINK and SERVICES (name=host:port …) are
# addresses; NATIVE_DATA (data-native) has the samples, the configuration and logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prometheus=${PROMETHEUS:-127.0.0.1:9090} alertmanager=${ALERTMANAGER:-127.0.0.1:9093}
exporter=${NODE_EXPORTER:-127.0.0.1:9100} sink=${ALERT_SINK:-127.0.0.1:3099}
data=${NATIVE_DATA:-data-native}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vigie/servers

# built NAME MODULE VERSION PACKAGE TAGS: the path of a program, built where it is
# not yet. A module's own go.mod is what it was tested with.
built() {
	local name=$1 module=$2 version=$3 package=$4 tags=$5 tree
	local program=$cache/$name-$version
	if [ ! -x "$program" ]; then
		echo "building $name $version; the first time takes minutes" >&2
		mkdir -p "$cache"
		tree=$(mktemp -d)
		cp -R "$(go mod download -json "$module@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/." "$tree"
		chmod -R u+w "$tree"
		if [ "$name" = alertmanager ]; then # its page is not in the module
			mkdir -p "$tree/ui/app/dist" && echo '<!doctype html>' >"$tree/ui/app/dist/index.html"
		fi
		(cd "$tree" && CGO_ENABLED=0 GOFLAGS= GOWORK=off go build -mod=readonly -trimpath -buildvcs=false -tags="$tags" -o "$program.new" "./$package") >&2
		mv "$program.new" "$program"
		rm -rf "$tree"
	fi
	echo "$program"
}

# version MODULE: the one that the tests are for.
version() { go list -m -f '{{.Version}}' "$1"; }
exporter_version=$(sed -n 's/.*exporterVersion *= "\(.*\)"/\1/p' internal/testenv/servers/build.go)

prometheus_program=$(built prometheus github.com/prometheus/prometheus "$(version github.com/prometheus/prometheus)" cmd/prometheus remove_all_sd)
alertmanager_program=$(built alertmanager github.com/prometheus/alertmanager "$(version github.com/prometheus/alertmanager)" cmd/alertmanager '')
exporter_program=$(built node_exporter github.com/prometheus/node_exporter "$exporter_version" . '')

# The shipped files, with this machine's addresses. The broker has no JMX exporter.
mkdir -p "$data/config/targets/stack" "$data/config/targets/services" "$data/config/targets/optional" "$data/config/rules"
config=$(cd "$data/config" && pwd)
cp monitoring/prometheus.yml "$config/"
cp monitoring/rules/*.yml "$config/rules/"
sed "s#alert-sink:3099#$sink#" monitoring/alertmanager.yml >"$config/alertmanager.yml"
echo "[]" >"$config/targets/stack/kafka.yml"
for part in "node $exporter" "prometheus $prometheus" "alertmanager $alertmanager"; do
	echo "- targets: ['${part#* }']" >"$config/targets/stack/${part% *}.yml"
done
if [ -n "${SERVICES:-}" ]; then
	for service in $SERVICES; do
		printf -- "- targets: ['%s']\n  labels: {service: %s}\n" "${service#*=}" "${service%%=*}"
	done
else
	sed 's#host.docker.internal#127.0.0.1#' monitoring/targets/host/services.yml
fi >"$config/targets/services/services.yml"

# run NAME PROGRAM ARG…: in the background, with a log of its own.
names=()
run() {
	local name=$1
	shift
	"$@" >"$data/$name.log" 2>&1 &
	names+=("$name")
}
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM
run alerts bin/vigie alerts --alerts-addr "$sink"
run node_exporter "$exporter_program" --web.listen-address="$exporter" --log.level=error
run alertmanager "$alertmanager_program" --config.file="$config/alertmanager.yml" --storage.path="$data/alertmanager" \
	--web.listen-address="$alertmanager" --cluster.listen-address= --log.level=warn
run prometheus "$prometheus_program" --config.file="$config/prometheus.yml" --storage.tsdb.path="$data/prometheus" \
	--web.listen-address="$prometheus" --enable-feature=exemplar-storage --log.level=warn
cat <<END
Prometheus      http://$prometheus
Alertmanager    http://$alertmanager
node exporter   http://$exporter/metrics
alerts          $data/alerts.log

The services beside it: make run ARGS="--prometheus-url http://$prometheus"
Ctrl-C stops all of this; $data keeps the samples.
END
wait -n || true # none ends by itself
for name in "${names[@]}"; do
	tail -n 3 "$data/$name.log" | sed "s/^/$name: /"
done >&2
echo "a part has ended; is something else on its address?" >&2
exit 1
