#!/bin/sh
# Tests every module of the repository, whatever fails: progress as packages
# finish, and one summary. `test.sh` takes -race where it works; `test.sh -short`
# is quick: no race detector, and of the whole system one run. PKGS names
# packages (default: all), FORMAT is gotestsum's; further arguments go to go test.
set -u
cd "$(dirname "$0")/.." || exit

modules=$(sh tools/modules.sh)

if [ "${1:-}" != --events ]; then
	race='' quick=''
	case " $* " in
	*' -short '*) quick=yes ;;
	*) race=$(sh tools/race.sh) || exit 1
		[ -n "$race" ] || echo 'no working C compiler: testing without the race detector' ;;
	esac
	runner=$(go tool -n gotestsum) || exit 1
	exec "$runner" --format "${FORMAT:-pkgname}" --format-hide-empty-pkg --hide-summary skipped \
		--raw-command -- env RACE="$race" QUICK="$quick" sh tools/test.sh --events "$@"
fi
shift

status=0
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
# constraint) is run once, without it: of the whole system what it only slows down,
# and loads of thousands of goroutines, on which it breaks itself.
without_race() { # without_race "PACKAGES" GO-TEST-ARGUMENTS
	[ -n "$RACE" ] || return 0 # it has been run
	packages=$1
	shift
	tests=$(for package in $packages; do grep -l '^//go:build !race' "$package"/*_test.go; done | xargs sed -n 's/^func \(Test[A-Za-z]*\)(.*/\1/p' | paste -s -d '|' -)
	run '' . "$packages" -run "^($tests)\$" "$@"
}
raceless='./test/system ./internal/load'

if [ -n "${PKGS:-}" ]; then
	for package in $PKGS; do
		place=$(sh tools/modules.sh "$package")
		run "$RACE" "${place% *}" "${place#* }" "$@"
		case $place in
		'. ./...') without_race "$raceless" "$@" ;;
		'. ./test/...' | '. ./test/system'*) without_race ./test/system "$@" ;;
		'. ./internal/...' | '. ./internal/load'*) without_race ./internal/load "$@" ;;
		esac
	done
	exit $status
fi
for module in $modules; do
	case $module in
	.)
		if [ -n "$QUICK" ]; then
			run '' . "$(go list ./... | grep -v -e /monitoring -e /test/)" "$@"
			run '' . ./test/system -run '^TestAnOrderIsPaidTrackedCountedAndMeasured$' "$@"
		else
			# The longest first, so that nothing waits for it in the end.
			run "$RACE" . "./test/system $(go list ./... | grep -v -e /monitoring -e /test/system)" "$@"
			without_race "$raceless" "$@"
		fi
		# Files are checked there, by much of Prometheus: the race detector
		# would find nothing, and have all of it compiled once more.
		run '' . ./monitoring/... "$@"
		;;
	*) run "$RACE" "$module" ./... "$@" ;;
	esac
done
exit $status
