#!/bin/sh
# Tests every module of the repository, whatever fails: progress as packages
# finish, and one summary. `test.sh` takes -race where it works; `test.sh -short`
# is quick: no race detector, and of the whole system one run. PKGS names
# packages (default: all), FORMAT is gotestsum's; further arguments go to go test.
set -u
cd "$(dirname "$0")/.." || exit

part=
case ${1:-} in
--part)
	part=$2
	shift 2
	;;
*)
	race='' quick=''
	case " $* " in
	*' -short '*) quick=yes ;;
	*) race=$(sh tools/race.sh) || exit 1
		[ -n "$race" ] || echo 'no working C compiler: testing without the race detector' ;;
	esac
	runner=$(go tool -n gotestsum) || exit 1
	exec "$runner" --format "${FORMAT:-pkgname}" --format-hide-empty-pkg --hide-summary skipped \
		--raw-command -- env RACE="$race" QUICK="$quick" sh tools/test.sh --part all "$@"
	;;
esac

status=0
# A process of the race detector would wait a second at its end, for what still runs
# beside: there are hundreds of them.
export GORACE="atexit_sleep_ms=0 ${GORACE:-}"

run() { # run RACE MODULE PACKAGES GO-TEST-ARGUMENTS
	race=$1 module=$2 packages=$3
	shift 3
	cgo=0 # as in make build, whose packages are then compiled already
	if [ -n "$race" ]; then
		cgo=1
		# SQLite is C, translated: its memory is not Go's, so the race detector
		# and the checks of pointers find nothing in it, and took most of the time.
		set -- '-gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0' "$@"
	fi
	# The time-out bounds a hang, not a slow machine.
	# shellcheck disable=SC2086 # lists
	CGO_ENABLED=$cgo go -C "$module" test -json -timeout 1h $race $packages "$@" || status=1
}

# What the race detector has no part in (files without it by their build
# constraint) is run once, without it: what it only slows down, of the whole system
# and of Prometheus, and loads of thousands of goroutines, on which it breaks itself.
raceless='./test/system ./internal/load ./internal/embedded/prometheus'
without_race() { # without_race "PACKAGES" GO-TEST-ARGUMENTS
	[ -n "$RACE" ] || return 0 # it has been run
	packages=$1
	shift
	tests=$(for package in $packages; do grep -l '^//go:build !race' "$package"/*_test.go; done | xargs sed -n 's/^func \(Test[A-Za-z]*\)(.*/\1/p' | paste -s -d '|' -)
	# Under names of their own: a package's second result would take the place of its
	# first, and a failure would not be told.
	events=$(mktemp) || exit
	run '' . "$packages" -run "^($tests)\$" "$@" >"$events"
	sed 's/"\(Package\|ImportPath\)":"[^"]*/& (no race)/' "$events"
	rm -f "$events"
}

# Files are checked here, in part by much of Prometheus: the race detector would
# find nothing, and have all of it compiled once more.
files='./monitoring/... ./docs ./deploy'

case $part in
named)
	for package in $PKGS; do
		place=$(sh tools/modules.sh "$package")
		run "$RACE" "${place% *}" "${place#* }" "$@"
		[ "${place% *}" = . ] || continue
		here=
		for some in $raceless; do
			case " $(go list "${place#* }" 2>/dev/null | tr '\n' ' ')" in *"${some#.} "*) here="$here $some" ;; esac
		done
		[ -z "$here" ] || without_race "$here" "$@"
	done
	;;
all) # two parts at once: while the tests of one wait, those of the other work
	[ -z "${PKGS:-}" ] || exec sh tools/test.sh --part named "$@"
	beside=$(mktemp) || exit
	trap 'rm -f "$beside"' EXIT
	export BESIDE="$beside"
	# By xargs, since what a shell starts beside itself does not hear Ctrl-C.
	printf '%s\n' root beside | xargs -P 2 -I PART sh tools/test.sh --part PART "$@" || status=1
	cat "$beside"
	;;
beside) # its events wait in a file, so that no line of the other part's is torn
	exec >"$BESIDE"
	without_race "$raceless" "$@"
	run '' . "$files" "$@"
	for module in $(sh tools/modules.sh); do
		[ "$module" = . ] || run "$RACE" "$module" ./... "$@"
	done
	;;
root)
	others=$(go list ./... | grep -v -e /monitoring -e /docs$ -e /deploy$ -e /test/system) || exit
	if [ -n "$QUICK" ]; then # four at once: they wait more than they work
		run '' . "$(echo "$others" | grep -v /test/)" -p 4 "$@"
		run '' . ./test/system -run '^TestAnOrderIsPaidTrackedCountedAndMeasured$' "$@"
	else # the longest first, so that nothing waits for it in the end
		run "$RACE" . "./test/system $others" "$@"
	fi
	;;
esac
exit $status
