#!/bin/sh
# Prints the path of axe-core, which looks for what keeps people from using a page,
# or nothing where npm cannot bring it: that test is then skipped. It lives in the
# user's cache.
set -eu

version=4.14.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vigie/axe
file=$cache/axe-$version.min.js

if [ ! -f "$file" ] && command -v npm >/dev/null; then
	mkdir -p "$cache"
	fresh=$(mktemp -d "$cache/fetch.XXXXXX")
	trap 'rm -rf "$fresh"' EXIT
	trap 'exit 1' HUP INT TERM
	if npm pack --silent --pack-destination "$fresh" "axe-core@$version" >/dev/null 2>&1; then
		tar -xzf "$fresh"/*.tgz -C "$fresh" package/axe.min.js
		mv "$fresh/package/axe.min.js" "$file"
	fi
fi
[ ! -f "$file" ] || printf '%s\n' "$file"
