#!/bin/sh
# Prints the path of the golangci-lint that tools/go.mod pins, building it the
# first time. The binary lives in the user's cache, one per version, Go release
# and platform: a linter built by an older Go refuses newer code.
set -eu

tools=$(cd "$(dirname "$0")" && pwd)
module=github.com/golangci/golangci-lint/v2
cd "$tools"

version=$(go list -m -f '{{.Version}}' "$module")
pins=$(cat go.mod go.sum | cksum | cut -d' ' -f1)
platform=$(go env GOVERSION GOOS GOARCH | tr -s ' \n' '--' | sed 's/-$//')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vigie/golangci-lint
binary=$cache/golangci-lint-$version-$platform-$pins

if [ ! -x "$binary" ]; then
	echo "building golangci-lint $version (a few minutes, once)" >&2
	mkdir -p "$cache"
	# Built aside and moved: two runs at once, or one cut short, leave no
	# half-written binary.
	fresh=$(mktemp "$cache/build.XXXXXX")
	trap 'rm -f "$fresh"' EXIT
	trap 'exit 1' HUP INT TERM
	CGO_ENABLED=0 go build -buildvcs=false -trimpath \
		-ldflags "-s -w -X main.version=$version" -o "$fresh" "$module/cmd/golangci-lint" >&2
	chmod 755 "$fresh"
	mv "$fresh" "$binary"
fi
printf '%s\n' "$binary"
