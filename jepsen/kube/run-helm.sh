#!/usr/bin/env bash
# Runs helm.sh against a kstore that it starts and stops itself.
#
#   run-helm.sh KSTORE HELM KUBECTL
#
# The server's files are kept if a check fails.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="${1:?the kstore to test}"
helm="${2:?the helm to test with}"
kubectl="${3:?the kubectl to look with}"
dir="$(mktemp -d "${TMPDIR:-/tmp}/kube-helm.XXXXXX")"
keep=yes # the server's files, unless all checks pass
finish() {
  "$here/server.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the server's files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

kubeconfig="$("$here/server.sh" start "$dir" "$kstore")"
"$here/helm.sh" "$helm" "$kubectl" "$kubeconfig"
keep=no
