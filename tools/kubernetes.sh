#!/bin/sh
# Prints the folder of the kube-apiserver and etcd that tools/kubernetes pins,
# building them the first time: some 2,100 packages, a quarter of an hour of one
# core. They live in the user's cache, by version, Go release and platform;
# beside them, in crds/, what prometheus-operator's objects are. `kubernetes.sh
# --built` builds nothing, and fails where they are not there.
set -eu
operator=github.com/prometheus-operator/prometheus-operator@v0.85.0

tools=$(cd "$(dirname "$0")" && pwd)/kubernetes
cd "$tools"

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
pins=$(cat go.mod go.sum | cksum | cut -d' ' -f1)
platform=$(go env GOVERSION GOOS GOARCH | tr -s ' \n' '--' | sed 's/-$//')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vigie/kubernetes
folder=$cache/$version-$platform-$pins

if [ ! -d "$folder" ]; then
	[ "${1:-}" != --built ] || exit 1
	echo "building kube-apiserver $version and etcd (many minutes, once)" >&2
	mkdir -p "$cache"
	# Built aside and moved: one that is cut short leaves no half.
	fresh=$(mktemp -d "$cache/build.XXXXXX")
	trap 'rm -rf "$fresh"' EXIT
	trap 'exit 1' HUP INT TERM
	CGO_ENABLED=0 go build -p 1 -trimpath -ldflags '-s -w' -o "$fresh/etcd" go.etcd.io/etcd/server/v3 >&2
	CGO_ENABLED=0 go build -p 1 -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(echo "$version" | cut -d. -f2)" \
		-o "$fresh/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver >&2
	crds=$(go mod download -json "$operator" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	mkdir "$fresh/crds"
	cp "$crds"/example/prometheus-operator-crd/*.yaml "$fresh/crds"
	chmod 755 "$fresh"
	mv "$fresh" "$folder"
fi
printf '%s\n' "$folder"
