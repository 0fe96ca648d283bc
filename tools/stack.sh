#!/usr/bin/env bash
# The stack of docker-compose.yml, for the Makefile:
#   start        everything in containers: wait, print the URLs, follow the logs
#   monitoring   the same without the services, which are to run on the host
#   run ARG…     `vigie ARG…` on the host, against the stack where it is up
#   doctor ARG…  `vigie doctor`, in a container where no binary was built here
#   down         stop; volumes stay
#   clean        forget the volumes and the host services' state (asks first)
# PROFILES="tracing zipkin logging demo" adds optional parts, and has the services
# send to them; TAIL_SAMPLING=1 keeps only the traces that are worth it; FOLLOW=0
# follows no logs; YES=1 does not ask; TIMEOUT is how many seconds all may take
# to be ready.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/stack-preflight.sh
. tools/stack-profiles.sh

project=${COMPOSE_PROJECT_NAME:-vigie}
# The images by digest, where `make pin` has written them down.
if [ -e docker-compose.pinned.yml ]; then export COMPOSE_FILE=${COMPOSE_FILE:-docker-compose.yml:docker-compose.pinned.yml}; fi

# listed: each service and its port, a line each.
listed() {
	awk '/targets:/ { gsub(/[^0-9]+/, " "); port = $NF } /service:/ { gsub(/[^a-z]+/, " "); print $NF, port }' \
		monitoring/targets/host/services.yml
}
services=$(listed | awk '{ print $1 }')
host_data=data-$project # apart from ./data, which belongs to the embedded broker

# up SERVICE…: start them (all where none is named) and wait until each is
# healthy.
up() {
	need_ports "$@"
	echo "starting; the first time builds and fetches the images, which takes minutes"
	docker compose build --quiet "$@"
	local begin=$SECONDS
	if ! docker compose up -d --wait --wait-timeout "${TIMEOUT:-300}" --quiet-pull "$@"; then
		docker compose ps -a >&2
		fail "not everything is healthy, see above; docker compose logs SERVICE says why"
	fi
	echo "all healthy after $((SECONDS - begin)) s"
}

urls() {
	echo
	printf '  %-14s %s\n' Grafana "http://localhost:3000 (${GRAFANA_ADMIN_USER:-admin})" \
		Prometheus http://localhost:9090 Alertmanager http://localhost:9093 \
		'JMX exporter' http://localhost:5556/metrics 'node exporter' http://localhost:9100/metrics Kafka localhost:9092
	if has tracing; then printf '  %-14s %s\n' Jaeger http://localhost:16686; fi
	if has zipkin; then printf '  %-14s %s\n' Zipkin http://localhost:9411; fi
	if has logging; then printf '  %-14s %s\n' Kibana http://localhost:5601; fi
}

start() {
	need_docker
	use_profiles
	export VIGIE_SERVICES=containers
	up
	urls
	listed | while read -r name port; do printf '  %-14s %s\n' "$name" "http://localhost:$port"; done
	cat <<-'URLS'

		Place an order, then follow it:

		  curl -X POST http://localhost:3001/orders -H 'Content-Type: application/json' -d '{"userId":"user123","amount":100.50,"items":["item1","item2"]}'
		  curl http://localhost:3002/orders/order-1/status

		make monitoring-down stops everything.
	URLS
	[ "${FOLLOW:-1}" != 0 ] || return 0
	echo "The services' logs follow; Ctrl-C leaves them, and everything running."
	trap 'echo; exit 0' INT
	# shellcheck disable=SC2086 # a list
	docker compose logs --follow --tail 20 $services alert-sink
}

monitoring() {
	need_docker
	use_profiles
	export VIGIE_SERVICES=host
	# shellcheck disable=SC2086
	docker compose rm --stop --force $services topics >/dev/null 2>&1
	local rest
	rest=$(docker compose config --services | grep -vxF "$(printf '%s\n' $services topics demo)") # that of up orders on the host
	# shellcheck disable=SC2086
	up $rest
	urls
	printf '\nNow the services on the host: make topics, then make start-all (or make dev-commande …).\nmake monitoring-down stops the stack.\n'
}

# stack_is_up: does this project's Kafka run?
stack_is_up() {
	command -v docker >/dev/null && [ -n "$(docker ps -q --filter "label=com.docker.compose.project=$project" \
		--filter label=com.docker.compose.service=kafka 2>/dev/null)" ]
}

# gateway: the address at which Prometheus's container reaches this machine;
# none where Docker has a machine of its own, from which loopback is reached.
gateway() {
	[ "$(uname)" = Linux ] && [ "$(docker info -f '{{.OperatingSystem}}')" != "Docker Desktop" ] || return 0
	docker compose exec -T prometheus cat /etc/hosts 2>/dev/null |
		awk '$2 == "host.docker.internal" && $1 ~ /^[0-9.]+$/ { print $1; exit }'
}

run() {
	local name port upper at
	if stack_is_up; then
		at=$(gateway)
		while read -r name port; do
			upper=$(printf %s "$name" | tr '[:lower:]' '[:upper:]')_ADDR
			[ -n "${!upper:-}" ] || export "$upper=127.0.0.1:$port${at:+,$at:$port}"
		done < <(listed)
		export VIGIE_DATA=${VIGIE_DATA:-$host_data} PROMETHEUS_URL=${PROMETHEUS_URL:-http://127.0.0.1:9090}
	fi
	export KAFKA_BROKERS=${KAFKA_BROKERS:-127.0.0.1:9092}
	local token=${VIGIE_DATA:-data}/probe-token # of services that are processes of their own; commande makes it
	export COMMANDE_PROBE_TOKEN_FILE=${COMMANDE_PROBE_TOKEN_FILE:-$token} SENTINELLE_PROBE_TOKEN_FILE=${SENTINELLE_PROBE_TOKEN_FILE:-$token}
	need_profiles
	demonstrate
	send_to_profiles
	if collects && [ -z "${OTEL_EXPORTER_OTLP_ENDPOINT:-}${OTEL_EXPORTER_OTLP_PROTOCOL:-}" ]; then
		export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc
	fi
	exec bin/vigie "$@"
}

# doctor looks with the host's binary, else from inside the stack, whose image has
# one, by the names that the parts have there.
doctor() {
	[ ! -x bin/vigie ] || exec bin/vigie doctor "$@"
	if ! stack_is_up; then
		command -v go >/dev/null || fail "there is neither bin/vigie nor Go to build it, and nothing runs in Docker: make start"
		make --no-print-directory build
		exec bin/vigie doctor "$@"
	fi
	local name port parts=()
	while read -r name port; do parts+=("--$name-addr" "$name:$port"); done < <(listed)
	export GRAFANA_USER=${GRAFANA_ADMIN_USER:-admin} GRAFANA_PASSWORD=${GRAFANA_ADMIN_PASSWORD:-admin}
	exec docker compose run --rm --no-deps -T -e GRAFANA_USER -e GRAFANA_PASSWORD \
		-v "$PWD/monitoring/grafana/dashboards:/dashboards:ro" topics doctor --dashboards /dashboards "${parts[@]}" \
		--prometheus-url http://prometheus:9090 --alertmanager-url http://alertmanager:9093 --grafana-url http://grafana:3000 \
		--jmx-url http://kafka-jmx-exporter:5556/metrics --node-url http://node-exporter:9100/metrics "$@"
}

down() {
	need_docker
	docker compose --profile '*' down --remove-orphans --timeout 30
}

volumes() { docker volume ls -q --filter "label=com.docker.compose.project=$project"; }

clean() {
	command -v docker >/dev/null && docker info >/dev/null 2>&1 || return 0
	[ -n "$(volumes)" ] || [ -e "$host_data" ] || return 0
	if [ "${YES:-}" != 1 ]; then
		printf 'This also stops the stack in Docker and forgets its orders, metrics and dashboards (%s volumes, %s).\nType yes to go on: ' \
			"$(volumes | wc -l | tr -d ' ')" "$host_data"
		read -r answer || true
		[ "${answer:-}" = yes ] || { echo "the stack stays as it is"; return 0; }
	fi
	docker compose --profile '*' down --volumes --remove-orphans --timeout 30
	local v
	for v in $(volumes); do docker volume rm "$v" >/dev/null; done # of the other way of running
	rm -rf "$host_data"
}

case ${1:-} in
start | monitoring | down | clean) "$1" ;;
run | doctor) "$@" ;;
*) fail "usage: stack.sh start|monitoring|run|doctor|down|clean" ;;
esac
