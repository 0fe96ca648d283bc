#!/bin/sh
# Prints where PostgreSQL's programs are, which the integration tests run a
# server of their own with, or nothing where there are none: see debian.sh.
set -eu
. "$(dirname "$0")/debian.sh"

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

install_postgres() {
	install_packages postgresql-common
	# No cluster of the system's own is wanted, nor a server that runs.
	echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
	install_packages postgresql
}

program PostgreSQL find_postgres install_postgres postgresql
