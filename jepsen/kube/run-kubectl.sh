#!/usr/bin/env bash
# Runs kubectl.sh against a kstore that it starts and stops itself.
#
#   run-kubectl.sh KSTORE KUBECTL...
#
# Each KUBECTL gets the same server, one after another. Results and logs are in
# .cache/kube: kubectl-1.NN.results has a line "group: case: pass|fail|skip".
# The server's files are kept if a check fails.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="${1:?the kstore to test}"
shift
[ $# -gt 0 ] || { echo "run-kubectl: no kubectl given" >&2; exit 2; }
cache="$here/../../.cache/kube"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"
dir="$(mktemp -d "${TMPDIR:-/tmp}/kube-kubectl.XXXXXX")"
keep=yes # the server's files, unless all checks pass
finish() {
  "$here/server.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the server's files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

kubeconfig="$("$here/server.sh" start "$dir" "$kstore")"
verdict=0
for kubectl in "$@"; do
  version="$("$kubectl" version --client -o json | jq -r '.clientVersion.major + "." + .clientVersion.minor' | tr -dc 0-9.)"
  echo "== kubectl $version"
  begun=$SECONDS
  RESULTS="$cache/kubectl-$version.results" "$here/kubectl.sh" "$kubectl" "$kubeconfig" kstore >"$cache/kubectl-$version.log" 2>&1 || verdict=1
  grep -v '^ok ' "$cache/kubectl-$version.log" || true
  echo "kubectl $version: $((SECONDS - begun)) s, results in $cache/kubectl-$version.results"
done
[ "$verdict" -ne 0 ] || keep=no
exit "$verdict"
