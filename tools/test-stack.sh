#!/usr/bin/env bash
# Starts the real docker-compose.yml COUNT times, then once with each optional
# part, with all of them, and with the services on the host; asks everything
# that is documented each time, takes it down, and looks whether anything is
# left. Prints how often it came up and in how many seconds. It uses a project,
# and so volumes, of its own, and leaves those of the stack alone.
#   VARIANTS="tracing zipkin logging all host" is what runs after the core rounds;
#   EXCEPT=jaeger leaves out a job of Prometheus that this machine's image does not serve.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export COMPOSE_PROJECT_NAME=vigie-test FOLLOW=0 YES=1
logs=$(mktemp -d)
host_pid=
note() { printf '%-22s %s\n' "$1" "$2"; }

# within SECONDS COMMAND…: repeat until it succeeds, and say so where it does not.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || { echo "why: not so in time: $*"; return 1; }
		sleep 0.5
	done
}

get() { curl -fsS --max-time 10 "http://localhost:$1"; }
# Not grep -q, which would stop reading and have curl complain.
page_has() { get "$1" | grep -E "$2" >/dev/null; }
query() { curl -fsS --max-time 10 -G http://localhost:9090/api/v1/query --data-urlencode "query=$1"; }
query_has() { query "$1" | grep -E "$2" >/dev/null; }
# The targets of Prometheus: so many, each up.
targets_up() {
	local up="up{job!~\"${EXCEPT:-}\"}"
	query_has "count($up == 1)" "\"$1\"\]" && query_has "count($up)" "\"$1\"\]"
}

# ask TARGETS: run the requests of the documents.
ask() {
	local order
	order=$(curl -fsS --max-time 10 -X POST http://localhost:3001/orders -H 'Content-Type: application/json' \
		-d '{"userId":"user123","amount":100.50,"items":["item1","item2"]}') || return 1
	case $order in *'"orderId":"order-1"'*) ;; *) echo "why: the first order is $order"; return 1 ;; esac
	within 30 page_has 3002/orders/order-1/status 'PAYMENT_(AUTHORIZED|REJECTED)' &&
		within 30 page_has 3003/statistics '"totalTransactions":1,' &&
		within 5 page_has 3001/metrics '^orders_total\{service="commande"\} 1$' &&
		within 5 page_has 3004/metrics '^payments_total\{.*\} 1$' &&
		within 5 page_has 3004/ paiement &&
		within 5 page_has 3000/api/health '"database": ?"ok"' &&
		within 5 page_has 9093/-/ready OK &&
		within 5 page_has 9100/metrics '^node_memory_MemTotal_bytes' &&
		within 30 page_has 5556/metrics '^kafka_' &&
		within 60 targets_up "$1" &&
		within 60 query_has 'sum(orders_total)' '"1"\]' &&
		within 60 no_rule_fails &&
		within 90 no_alert_fires &&
		within 1 loopback_only
}

no_rule_fails() { page_has 9090/api/v1/rules '"health":"ok"' && ! page_has 9090/api/v1/rules '"health":"err"'; }

no_alert_fires() { query_has "ALERTS{alertstate=\"firing\",job!~\"${EXCEPT:-}\"}" '"result":\[\]'; }

# Nothing of this is published beyond loopback. (Services on the host listen on
# the containers' gateway too, which is the host variant's point.)
loopback_only() {
	! docker ps --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --format '{{.Ports}}' |
		tr ',' '\n' | grep -e '->' | grep -vE '^ *127\.0\.0\.1:'
}

# ask_part PROFILE: the optional parts' own pages.
ask_part() {
	case $1 in
	tracing)
		page_has 16686/api/services '"commande"' && span &&
			within 10 page_has 16686/api/traces/5b8efff798038103d269b633813fc60c test-stack &&
			within 30 query_has 'sum(traces_span_metrics_calls_total{service_name="commande"})' '"value"'
		;;
	zipkin) page_has 9411/health UP && within 30 page_has 9411/api/v2/services '"commande"' ;;
	logging)
		page_has 5601/api/status available && page_has 5601/api/data_views/data_view/vigie-logs 'logs-vigie' &&
			within 30 logs_of_order
		;;
	esac
}

# logs_of_order: Elasticsearch, which is not published, has lines of order-1 in a
# data stream that keeps them a week.
logs_of_order() {
	local at=http://127.0.0.1:9200
	docker compose exec -T elasticsearch curl -fsS "$at/logs-vigie.otel-default/_search?q=attributes.order_id:order-1" | grep -q '"trace_id"' &&
		docker compose exec -T elasticsearch curl -fsS "$at/_data_stream/logs-vigie.otel-default" | grep -q '"data_retention":"7d"'
}

# span: one, sent to the Collector.
span() {
	local now
	now=$(date +%s)
	curl -fsS --max-time 10 -o /dev/null http://localhost:4318/v1/traces -H 'Content-Type: application/json' -d '{"resourceSpans":[{
		"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"test-stack"}}]},
		"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"hello","kind":1,
		"startTimeUnixNano":"'"$now"'000000000","endTimeUnixNano":"'"$now"'100000000"}]}]}]}'
}

# left: what a stopped stack left behind.
left() {
	local label=label=com.docker.compose.project=$COMPOSE_PROJECT_NAME
	docker ps -aq --filter "$label"
	docker volume ls -q --filter "$label"
	docker network ls -q --filter "$label"
}

# host_services: make topics and make start-all, in the background.
host_services() {
	bin/vigie topics && bash tools/stack.sh run up --log-format json >"$logs/host.log" 2>&1 &
	host_pid=$!
	within 60 bin/vigie health
}

stop_host_services() {
	[ -n "$host_pid" ] || return 0
	pkill -TERM -P "$host_pid"
	wait "$host_pid"
	host_pid=
}

# once VARIANT: up, ask, down; its seconds on the last line of $logs/VARIANT.
once() {
	local variant=$1 begin=$SECONDS parts= targets=9 p
	case $variant in
	core) ;;
	host) ;;
	all) parts="tracing zipkin logging" ;;
	*) parts=$variant ;;
	esac
	# The Collector shows two pages, Jaeger one.
	[ -z "$parts" ] || targets=11
	case " $parts " in *" tracing "*) [ "${EXCEPT:-}" = jaeger ] || targets=12 ;; esac
	{
		if [ "$variant" = host ]; then
			PROFILES= bash tools/stack.sh monitoring && host_services
		else
			PROFILES=$parts bash tools/stack.sh start
		fi
	} >"$logs/$variant" 2>&1 || return 1
	local seconds=$((SECONDS - begin))
	ask $targets >>"$logs/$variant" 2>&1 || return 1
	for p in $parts; do within 30 ask_part "$p" >>"$logs/$variant" || return 1; done
	echo "$seconds"
}

finish() {
	stop_host_services >/dev/null 2>&1
	bash tools/stack.sh clean >>"$logs/clean" 2>&1
}
trap 'finish; exit 1' INT TERM

good=0 all=0
try() {
	local seconds remains
	all=$((all + 1))
	once "$1" >"$logs/seconds"
	local ok=$?
	seconds=$(cat "$logs/seconds")
	if [ $ok != 0 ]; then
		docker compose --profile '*' ps -a --format 'table {{.Service}}\t{{.Status}}'
		docker compose --profile '*' logs --no-color >"$logs/$1-$all.containers" 2>&1
		grep -hE '^(why|stack):|is unhealthy' "$logs/$1"
	fi
	finish
	remains=$(left)
	if [ $ok = 0 ] && [ -z "$remains" ]; then
		good=$((good + 1))
		note "$1" "up and answering, ready after ${seconds} s; nothing left"
	else
		note "$1" "FAILED${remains:+; left behind: $(echo "$remains" | tr '\n' ' ')}"
	fi
}

docker compose --profile '*' build --quiet || exit 1 # not part of what is timed
for _ in $(seq 1 "${COUNT:-3}"); do try core; done
for v in ${VARIANTS-tracing zipkin logging all host}; do try "$v"; done
echo "came up $good of $all times"
[ "$good" = "$all" ] || { echo "what the containers said is in $logs"; exit 1; }
rm -rf "$logs"
