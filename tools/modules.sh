#!/bin/sh
# Prints the folders of the repository's modules but for the tools', a module
# inside another after it.
set -eu
cd "$(dirname "$0")/.."
find . -name go.mod ! -path './tools/*' ! -path '*/testdata/*' | sed 's#^\./##; s#/*go\.mod$##; s#^$#.#' | sort
