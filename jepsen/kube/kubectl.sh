#!/usr/bin/env bash
# Drives a stock kubectl against a running API server and checks what it answers.
#
#   kubectl.sh KUBECTL KUBECONFIG [kstore|upstream]
#
# KUBECTL is any release from 1.27 to 1.36, KUBECONFIG that of a cluster's
# administrator; the server is kstore unless the third word says that it is
# upstream's. One node that runs pods, hollow ones too, must be there.
# It prints a line for each check and, at the end, "N passed, M failed, S skipped".
#
#   GROUPS_ONLY="get errors"   runs these groups only (the files in kubectl/)
#   RESULTS=FILE               gets a line "group: case: pass|fail|skip" for each check
#
# Checks compare all of standard output or standard error, with what differs
# from run to run masked; kubectl/words.sh has the words they are written in.
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kubectl="$(realpath -- "$(command -v -- "${1:?the kubectl to use}")")" || exit 2
kubeconfig="$(realpath -- "${2:?the kubeconfig of an administrator}")" || exit 2
server="${3:-kstore}"
# shellcheck source=kubectl/words.sh
. "$here/kubectl/words.sh"

# A server that has just begun has no node yet.
ready='{range .items[*].status.conditions[?(@.type=="Ready")]}{.status}{end}'
for try in $(seq 300); do
  case "$(kube get nodes -o "jsonpath=$ready" 2>/dev/null)" in *True*) break ;; esac
  sleep 0.1
done
[ "$try" -lt 300 ] || echo "no node is ready" >&2

all=(server create get lists watch apply patch errors access workloads services delete nodes)
# shellcheck disable=SC2206 # GROUPS_ONLY is a list of words
groups=(${GROUPS_ONLY:-${all[@]}})
for group in "${groups[@]}"; do
  # shellcheck source=/dev/null
  . "$here/kubectl/$group.sh"
done

echo "$passed passed, $failed failed, $skipped skipped, $missing known to be missing"
[ "$failed" -eq 0 ]
