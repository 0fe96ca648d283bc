# What has to be there before anything starts, each said in one line. Sourced
# by stack.sh.

fail() {
	echo "stack: $*" >&2
	exit 1
}

# A word of compose's own would come later, and be longer.
need_docker() {
	command -v docker >/dev/null ||
		fail "Docker is not installed (docs.docker.com/get-docker); without it: make run"
	docker compose version >/dev/null 2>&1 ||
		fail "Docker has no plugin compose (docs.docker.com/compose/install); without it: make run"
	docker info >/dev/null 2>&1 ||
		fail "the Docker engine does not answer: start it, or see what \`docker info\` says; without it: make run"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The ports that these services publish and that something else has already.
need_ports() {
	local ours taken= port service
	# Docker writes neighbours as one: 127.0.0.1:4317-4318->4317-4318/tcp.
	ours=$(docker ps --filter "label=com.docker.compose.project=$project" --format '{{.Ports}}' | tr ',' '\n' |
		awk -F'->' 'NF > 1 { sub(".*:", "", $1); n = split($1, r, "-"); for (p = r[1] + 0; p <= r[n] + 0; p++) printf " %d ", p }')
	while read -r port service; do
		case $ours in *" $port "*) continue ;; esac
		if answers "$port"; then taken="$taken, $port ($service)"; fi
	done < <(docker compose config "$@" |
		awk '/^  [a-z-]+:$/ { sub(":", "", $1); s = $1 } $1 == "published:" { gsub("\"", "", $2); print $2, s }')
	[ -z "$taken" ] ||
		fail "already in use on 127.0.0.1: ${taken#, }; stop what listens there (make run, make start-all and make dev-… use some of these ports too)"
}
