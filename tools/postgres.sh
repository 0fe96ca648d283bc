#!/bin/sh
# Prints where PostgreSQL's programs are, which the integration tests run a
# server of their own with, or nothing where there are none: those tests are
# then skipped. With CI set nothing may be skipped: root installs Debian's
# package, anybody else fails.
set -eu

find_postgres() {
	# The newest release comes last.
	for initdb in $(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V); do
		found=${initdb%/initdb}
	done
	if [ -z "${found:-}" ] && command -v initdb >/dev/null && command -v postgres >/dev/null; then
		found=$(dirname "$(command -v postgres)")
	fi
	echo "${found:-}"
}

where=$(find_postgres)
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
		apt-get install -qq -y --no-install-recommends postgresql-common
		# No cluster of the system's own is wanted, nor a server that runs.
		echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
		apt-get install -qq -y --no-install-recommends postgresql
	} >&2
	where=$(find_postgres)
fi
if [ -z "$where" ]; then
	echo "no PostgreSQL: install the package postgresql" >&2
	exit 1
fi
echo "$where"
