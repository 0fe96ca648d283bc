#!/bin/sh
# Fails for files that do not belong in the repository: larger than 1 MiB, or
# naming a path of the machine that they were written on.
set -eu

if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
	echo "not a git work tree: nothing to compare" >&2
	[ -z "${CI:-}" ]
	exit
fi

failed=0
large=$(git -c core.quotePath=off ls-files --cached --others --exclude-standard |
	while IFS= read -r file; do
		[ -f "$file" ] && find "$file" -prune -size +1024k
	done) || true
if [ -n "$large" ]; then
	echo "larger than 1 MiB:" >&2
	echo "$large" >&2
	failed=1
fi
if git grep --untracked -nIE '(^|[^[:alnum:]_.~-])/(work|root)/' -- . ':!*.sum' >&2; then
	echo "the lines above name a path of one machine" >&2
	failed=1
fi
exit $failed
