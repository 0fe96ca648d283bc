#!/bin/sh
# Builds bin/vigie of the last commit twice, in folders of other names, the second
# time with an empty cache, and compares: the same sources and Go make the same
# bytes. PLATFORM is GOOS/GOARCH; default this machine's. The second build
# compiles everything, which takes minutes.
set -eu
cd "$(dirname "$0")/.."

platform=${PLATFORM:-$(go env GOOS)/$(go env GOARCH)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

sum() {
	if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d' ' -f1
}

build() { # build FOLDER CACHE
	mkdir -p "$scratch/$1"
	git archive HEAD | tar -x -C "$scratch/$1"
	GOCACHE=$2 GOOS=${platform%/*} GOARCH=${platform#*/} CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
		go -C "$scratch/$1" build -trimpath -ldflags='-s -w' -o "$scratch/$1.out" ./cmd/vigie
	printf '%s  %s bytes, built in .../%s\n' "$(sum "$scratch/$1.out")" "$(wc -c <"$scratch/$1.out" | tr -d ' ')" "$1"
}

echo "$(git rev-parse --short HEAD), $(go env GOVERSION), $platform"
build first "$(go env GOCACHE)"
build a/second/elsewhere "$scratch/cache"
if cmp "$scratch/first.out" "$scratch/a/second/elsewhere.out"; then
	echo "the two are the same"
else
	echo "the two differ" >&2
	exit 1
fi
