#!/bin/sh
# Prints the path of a Chromium, which `make test-browser` and `make pictures`
# drive, or nothing where there is none: those tests are then skipped. With CI set
# nothing may be skipped: root installs Debian's package, anybody else fails.
set -eu

find_chromium() {
	for name in chromium chromium-browser google-chrome; do
		command -v "$name" && return
	done
	return 0
}

where=$(find_chromium)
case ${CI:-} in
'' | 0 | false)
	echo "$where"
	exit
	;;
esac
if [ -z "$where" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	{
		apt-get update -qq
		apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core
	} >&2
	where=$(find_chromium)
fi
if [ -z "$where" ]; then
	echo "no Chromium: install the package chromium" >&2
	exit 1
fi
echo "$where"
