#!/usr/bin/env bash
# Writes docker-compose.pinned.yml, which names every image of docker-compose.yml
# by its digest, also those that ours are built from: what a tag means then
# cannot change. tools/stack.sh takes it where it is there; without it, remove
# it. Needs Docker with its plugin buildx, and the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/stack-preflight.sh

pinned=docker-compose.pinned.yml
need_docker
docker buildx version >/dev/null 2>&1 || fail "Docker has no plugin buildx, which knows digests (docs.docker.com/go/buildx)"

# digest IMAGE: of the list of all its platforms.
digest() {
	local d
	d=$(docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}') || fail "cannot read the digest of $1, see above"
	case $d in sha256:*) printf '%s\n' "$d" ;; *) fail "the digest of $1 is $d" ;; esac
}

# bases DOCKERFILE: what its stages start from, but for other stages and nothing.
bases() {
	awk '$1 == "FROM" { if (!($2 in stage) && $2 != "scratch") print $2; if ($3 == "AS") stage[$4] }' "$1" | sort -u
}

fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
{
	echo "# Written by \`make pin\`: the images of docker-compose.yml by digest."
	echo "services:"
	docker compose -f docker-compose.yml --profile '*' config | awk '
		/^[a-z]/ { inside = $1 == "services:" }
		inside && /^  [a-z-]+:$/ { sub(":", "", $1); s = $1; context = "."; file = "Dockerfile" }
		inside && /^      context:/ { context = $2 }
		inside && /^      dockerfile:/ { file = $2 }
		inside && /^    image:/ { print s, $2, context "/" file }' |
		while read -r service image dockerfile; do
			echo "$service: $image" >&2
			echo "  $service:"
			case $image in
			*:local)
				echo "    build:"
				echo "      additional_contexts:"
				for base in $(bases "$dockerfile"); do
					d=$(digest "$base")
					echo "        \"$base\": docker-image://$base@$d"
				done
				;;
			*)
				d=$(digest "$image")
				echo "    image: $image@$d"
				;;
			esac
		done
} >"$fresh"
grep -q sha256: "$fresh" || fail "docker-compose.yml names no image"
cat "$fresh" >"$pinned"
echo "$pinned has $(grep -c sha256: "$pinned") digests; make start uses it"
