#!/usr/bin/env bash
# Runs the Go suite against a server that it starts and stops itself.
#
#   run-suite.sh BINARY [COUNT] [RESULTS]
#
# BINARY is `etcd`, or `kstore` (run as `kstore server`). COUNT is the number of
# members, 1 or 3. RESULTS gets one line per case, "case: pass|fail|skip"; by
# default it is NAME-COUNT.results in .cache/compat. What `go test` says is
# beside it with the ending .log.
# GOTEST has further flags for `go test`, for example GOTEST="-run TestWatch".
# Succeeds if all cases pass. The servers' files are kept if one fails.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
binary="${1:?the server to test, etcd or kstore}"
count="${2:-1}"
name="$(basename -- "$binary")-$count"
cache="$here/../../.cache/compat"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"
results="$(realpath -m -- "${3:-$cache/$name.results}")"
log="${results%.results}.log"
dir="$(mktemp -d "${TMPDIR:-/tmp}/compat-$name.XXXXXX")"
keep=yes # the servers' files, unless all cases pass
finish() {
  "$here/servers.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the servers' files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

flags=()
if "$here/servers.sh" takes "$binary" --watch-progress-notify-interval; then
  export PROGRESS_INTERVAL=200ms
  flags+=(--watch-progress-notify-interval "$PROGRESS_INTERVAL")
fi
# Several members of etcd come apart on what this group sends; see there.
case "$(basename -- "$binary")" in
  etcd*) if [ "$count" -gt 1 ]; then export SKIP="ErrorsOfTxnThatWrites${SKIP:+,$SKIP}"; fi ;;
esac
ENDPOINTS="$("$here/servers.sh" start "$dir" "$binary" "$count" "${flags[@]}")"
export ENDPOINTS RESULTS="$results"
: >"$results"

begun=$SECONDS
verdict=0
# shellcheck disable=SC2086 # GOTEST is a list of words
go test -C "$here/etcd" -count=1 -timeout 15m ${GOTEST:-} . >"$log" 2>&1 || verdict=$?
passed="$(grep -c ': pass$' "$results" || true)"
failed="$(grep -c ': fail$' "$results" || true)"
skipped="$(grep -c ': skip$' "$results" || true)"
if [ "$verdict" -eq 0 ]; then
  keep=no
else
  cat "$log"
  # A run that broke off has fewer lines than cases: never report it as passed.
  [ "$failed" -gt 0 ] || failed=1
fi
echo "suite: $(basename -- "$binary"), $count member(s), $((SECONDS - begun)) s, results in $results"
echo "$passed passed, $failed failed, $skipped skipped"
exit "$verdict"
