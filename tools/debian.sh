#!/bin/sh
# For scripts that need programs of a Debian package; they read this file.
#
# program TITLE FIND INSTALL PACKAGE prints what FIND prints: where the programs
# are, or nothing where there are none. What needs them is then skipped. With CI
# set nothing may be skipped: root installs by INSTALL, anybody else fails.
program() {
	where=$($2)
	case ${CI:-} in
	'' | 0 | false)
		echo "$where"
		return
		;;
	esac
	if [ -z "$where" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		{
			apt-get update -qq
			$3
		} >&2
		where=$($2)
	fi
	if [ -z "$where" ]; then
		echo "no $1: install the package $4" >&2
		return 1
	fi
	echo "$where"
}

# install_packages installs packages and what they need.
install_packages() { apt-get install -qq -y --no-install-recommends "$@"; }
