#!/bin/sh
# Prints the path of a Chromium, which `make test-browser` and `make pictures`
# drive, or nothing where there is none: see debian.sh.
set -eu
. "$(dirname "$0")/debian.sh"

find_chromium() {
	for name in chromium chromium-browser google-chrome; do
		command -v "$name" && return
	done
	return 0
}

install_chromium() { install_packages chromium fonts-dejavu-core; }

program Chromium find_chromium install_chromium chromium
