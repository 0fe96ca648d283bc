#!/bin/sh
# Runs an installed Grafana on the shipped provisioning and dashboards, against
# the Prometheus of `make run`: on loopback, without rights, in a folder of its
# own. GRAFANA_HOME is where it is unpacked, where the command grafana is not on
# the path or does not lie beside its files. GRAFANA_ADDR (127.0.0.1:3000),
# GRAFANA_DATA (data-grafana), PROMETHEUS_URL, ALERTMANAGER_URL and VIGIE_JAEGER_URL
# say where things are.
set -eu
cd "$(dirname "$0")/.."

find_grafana() {
	if [ -n "${GRAFANA_HOME:-}" ]; then
		for program in "$GRAFANA_HOME/bin/grafana" "$GRAFANA_HOME/grafana"; do
			[ ! -x "$program" ] || return 0
		done
	fi
	program=$(command -v grafana)
}

# find_home: a package has the files apart from the command, an archive around it.
find_home() {
	home=${GRAFANA_HOME:-}
	[ -z "$home" ] || return 0
	at=$(dirname "$(readlink -f "$program")")
	for home in "$at/.." "$at/../share/grafana" /usr/share/grafana; do
		[ ! -f "$home/conf/defaults.ini" ] || return 0
	done
	home=
}

if ! find_grafana || ! find_home || [ -z "$home" ]; then
	echo "no Grafana here: install it, or unpack its archive and set GRAFANA_HOME (grafana.com/grafana/download); make run shows the system at http://127.0.0.1:3005 without it" >&2
	exit 1
fi

data=${GRAFANA_DATA:-data-grafana}
mkdir -p "$data/provisioning"
data=$(cd "$data" && pwd)
cp -R monitoring/grafana/provisioning/. "$data/provisioning/"
# The shipped files have the names of docker-compose.yml.
for file in "$data"/provisioning/*/*.yml; do
	sed -e "s#http://prometheus:9090#${PROMETHEUS_URL:-http://127.0.0.1:9090}#" \
		-e "s#http://alertmanager:9093#${ALERTMANAGER_URL:-http://127.0.0.1:9093}#" \
		-e "s#http://jaeger:16686#${VIGIE_JAEGER_URL:-http://127.0.0.1:16686}#" \
		-e 's#http://\(zipkin\|elasticsearch\):#http://127.0.0.1:#' \
		-e "s#/etc/grafana/dashboards#$PWD/monitoring/grafana/dashboards#" "$file" >"$file.new"
	mv "$file.new" "$file"
done

address=${GRAFANA_ADDR:-127.0.0.1:3000}
echo "Grafana answers at http://$address (${GRAFANA_ADMIN_USER:-admin}) in a moment, on ${PROMETHEUS_URL:-http://127.0.0.1:9090}; Ctrl-C stops it"
exec env \
	GF_PATHS_DATA="$data/data" GF_PATHS_LOGS="$data/log" GF_PATHS_PLUGINS="$data/plugins" GF_PATHS_PROVISIONING="$data/provisioning" \
	GF_SERVER_HTTP_ADDR="${address%:*}" GF_SERVER_HTTP_PORT="${address##*:}" \
	GF_SECURITY_ADMIN_USER="${GRAFANA_ADMIN_USER:-admin}" GF_SECURITY_ADMIN_PASSWORD="${GRAFANA_ADMIN_PASSWORD:-admin}" \
	GF_USERS_ALLOW_SIGN_UP=false GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false \
	GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false GF_PLUGINS_PREINSTALL_DISABLED=true GF_PLUGINS_PREINSTALL_AUTO_UPDATE=false \
	GF_NEWS_NEWS_FEED_ENABLED=false GF_LOG_MODE=console GF_LOG_LEVEL="${GRAFANA_LOG_LEVEL:-warn}" \
	"$program" server --homepath "$home" "$@"
