#!/usr/bin/env bash
# Runs the Go suite against a kstore that it starts and stops itself.
#
#   run-suite.sh KSTORE [RESULTS]
#
# RESULTS gets one line per case, "group: case: pass|fail|skip|missing"; by default it is
# suite.results in .cache/kube. What `go test` says is beside it with the ending .log.
# GOTEST has further flags for `go test`, for example GOTEST="-run TestWatch".
# Succeeds if all cases pass but those in suite/kstore.missing, which have to fail.
# The server's files are kept if it does not.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="${1:?the kstore to test}"
cache="$here/../../.cache/kube"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"
results="$(realpath -m -- "${2:-$cache/suite.results}")"
log="${results%.results}.log"
dir="$(mktemp -d "${TMPDIR:-/tmp}/kube-suite.XXXXXX")"
keep=yes # the server's files, unless all cases pass
finish() {
  "$here/server.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the server's files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

KUBECONFIG="$("$here/server.sh" start "$dir" "$kstore")"
export KUBECONFIG RESULTS="$results" SERVER=kstore
# How the store is made to forget: up to where it is now, by etcd's own API.
etcd="$(realpath -- "$(command -v -- "$kstore")") --endpoints $(grep -A 1 -e --listen-client-urls "$dir/command" | tail -n 1)"
export COMPACT="$etcd compaction \$($etcd endpoint status -w json | jq '.[0].Status.header.revision')"
: >"$results"

begun=$SECONDS
verdict=0
# shellcheck disable=SC2086 # GOTEST is a list of words
go test -C "$here/suite" -count=1 -timeout 15m ${GOTEST:-} . >"$log" 2>&1 || verdict=$?
passed="$(grep -c ': pass$' "$results" || true)"
failed="$(grep -c ': fail$' "$results" || true)"
skipped="$(grep -c ': skip$' "$results" || true)"
missing="$(grep -c ': missing$' "$results" || true)"
if [ "$verdict" -eq 0 ]; then
  keep=no
else
  cat "$log"
  # A run that broke off has fewer lines than cases: never report it as passed.
  [ "$failed" -gt 0 ] || failed=1
fi
echo "suite: $((SECONDS - begun)) s, results in $results"
sed -n 's/: missing$//; t print; d; :print s/^/still missing  /p' "$results"
echo "$passed passed, $failed failed, $skipped skipped, $missing known to be missing"
exit "$verdict"
