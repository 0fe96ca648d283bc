#!/bin/sh
# Runs every fuzz target for FUZZTIME, one after the other; go test takes only
# one at a time. Fails when one of them found something.
set -eu
: "${FUZZTIME:=10s}"

failed=
for folder in $(find . -name '*_test.go' -exec grep -l '^func Fuzz' {} + | xargs -n 1 dirname | sort -u); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$folder"/*_test.go); do
		echo "$folder $target"
		# One try at making an input smaller: the default minute would eat
		# the whole time.
		(cd "$folder" && go test . -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime=1x "$@") ||
			failed="$failed $target"
	done
done
if [ -n "$failed" ]; then
	echo "found something:$failed" >&2
	exit 1
fi
