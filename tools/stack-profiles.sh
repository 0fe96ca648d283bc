# What follows from PROFILES: what runs, what the services send, and where the
# Collector sends it. Sourced by stack.sh.

# has PROFILE: is it chosen?
has() { case " ${PROFILES:-} " in *" $1 "*) ;; *) return 1 ;; esac }

need_profiles() {
	local p
	for p in ${PROFILES:-}; do
		case $p in tracing | zipkin | logging | demo) ;; *) fail "no profile $p; there are tracing, zipkin, logging and demo" ;; esac
	done
}

# collects: does one of them need the Collector?
collects() { has tracing || has zipkin || has logging; }

# demonstrate: with demo, payments fail now and then, and the page says why orders
# arrive.
demonstrate() {
	has demo || return 0
	export VIGIE_DEMO=true PAIEMENT_ERROR_RATE=${PAIEMENT_ERROR_RATE:-0.1}
}

# send_to_profiles: what the services send, where their user does not say.
send_to_profiles() {
	if has tracing || has zipkin; then export OTEL_TRACES_EXPORTER=${OTEL_TRACES_EXPORTER:-otlp}; fi
	if has logging; then export OTEL_LOGS_EXPORTER=${OTEL_LOGS_EXPORTER:-otlp}; fi
}

# use_profiles: the settings of docker-compose.yml.
use_profiles() {
	need_profiles
	COMPOSE_PROFILES=$(echo ${PROFILES:-} | tr ' ' ',')
	export COMPOSE_PROFILES
	demonstrate
	collects || return 0
	send_to_profiles
	collector_settings
}

# collector_settings: where it sends what it gets, and the files that this takes
# (monitoring/otel-collector, as its container has them).
collector_settings() {
	local traces=() files=
	export COLLECTOR_TARGETS=available
	if has tracing; then
		traces+=(otlp_grpc/jaeger)
		export TRACING_TARGETS=available
	fi
	if has zipkin; then
		traces+=(zipkin)
		files="$files --config=/etc/otel-collector/zipkin.yaml"
	fi
	if has logging; then
		export LOGS_TO=${LOGS_TO:-[elasticsearch]}
		files="$files --config=/etc/otel-collector/elasticsearch.yaml"
	fi
	if [ "${TAIL_SAMPLING:-}" = 1 ]; then files="$files --config=/etc/otel-collector/tail-sampling.yaml"; fi
	[ ${#traces[@]} != 0 ] || traces=(debug)
	TRACES_TO=${TRACES_TO:-[$(IFS=, && echo "${traces[*]}")]}
	COLLECTOR_CONFIG=${COLLECTOR_CONFIG:-${files# }}
	export TRACES_TO COLLECTOR_CONFIG
}
