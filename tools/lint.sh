#!/bin/sh
# Every check of the sources, each reported whether or not the ones before it
# passed. Arguments go to golangci-lint.
set -eu
cd "$(dirname "$0")/.."

# As `make build` does: the checks then need no C compiler, and share its cache.
export CGO_ENABLED=0

failed=
check() {
	name=$1
	shift
	echo "lint: $name"
	"$@" || failed="$failed, $name"
}

format() {
	unformatted=$("$(go env GOROOT)/bin/gofmt" -l .) || return 1
	[ -z "$unformatted" ] && return
	echo "run make fmt for:"
	echo "$unformatted"
	return 1
}

tidy() {
	find . -name go.mod -exec dirname {} \; | {
		status=0
		while IFS= read -r module; do
			go -C "$module" mod tidy -diff || status=1
		done
		return $status
	}
}

# What is in the cache is what go.sum says.
verify() {
	find . -name go.mod ! -path '*/testdata/*' -exec dirname {} \; | {
		status=0
		while IFS= read -r module; do
			found=$(go -C "$module" mod verify 2>&1) || { printf '%s: %s\n' "$module" "$found"; status=1; }
		done
		return $status
	}
}

licences() {
	go -C tools/supply test . || return 1
	go -C tools/supply run . -check ../../docs/licences.md
}

golangci() {
	linter=$(sh tools/golangci-lint.sh) || return 1
	config=$PWD/.golangci.yml status=0
	for module in $(sh tools/modules.sh); do
		echo "lint: golangci-lint in $module"
		(cd "$module" && "$linter" run -c "$config" "$@" ./...) || status=1
	done
	return $status
}

# What no command reaches is for tests alone, or forgotten; test/model drives
# services without Kafka and HTTP around them. The library's names
# are for its importers: its examples and tests use them.
dead() {
	found=$(go tool -modfile=tools/go.mod deadcode -test -filter '^github.com/vigie-dev/vigie/(cmd|internal|services|monitoring)' ./cmd/vigie ./test/model) || return 1
	found=$(printf '%s' "$found" | grep -v ': Value\.UnmarshalJSON$') # which encoding/json calls by reflection
	[ -z "$found" ] && return
	echo "$found"
	return 1
}

vet() {
	status=0
	for module in $(sh tools/modules.sh); do
		go -C "$module" vet -tags integration ./... || status=1
	done
	return $status
}

check tree sh tools/check-tree.sh
check gofmt format
check "go vet" vet
check "go mod tidy" tidy
check "go mod verify" verify
check licences licences
check deadcode dead
check golangci-lint golangci "$@"

if [ -n "$failed" ]; then
	echo "lint failed: ${failed#, }" >&2
	exit 1
fi
