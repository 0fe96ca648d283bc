#!/bin/sh
# Prints the folders of the repository's modules but for the tools', a module
# inside another after it. `modules.sh ./telemetry/otlp/...` prints the one that
# these packages are in, and what they are called there.
set -eu
cd "$(dirname "$0")/.."
modules() {
	find . -name go.mod ! -path './tools/*' ! -path '*/testdata/*' | sed 's#^\./##; s#/*go\.mod$##; s#^$#.#' | sort
}

if [ $# = 0 ]; then
	modules
	exit
fi
found=.
for module in $(modules); do
	case $1/ in ./"$module"/*) found=$module ;; esac
done
[ "$found" = . ] && echo ". $1" || echo "$found .${1#"./$found"}"
