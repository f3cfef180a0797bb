#!/usr/bin/env bash
# The first minute with kstore, timed: one command leads to a control plane, and
# a Deployment of three with a Service becomes three running pods and filled
# EndpointSlices.
#
#   first.sh KSTORE KUBECTL [SECONDS]        default: 3 seconds from `apply` to the last endpoint
#
# Prints how long it took to be ready with an empty directory, to have the pods,
# and to be ready again with that directory. Fails if the pods take longer than SECONDS.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="${1:?the kstore to test}"
kubectl="$(realpath -- "$(command -v -- "${2:?the kubectl to use}")")"
limit="${3:-3}"
dir="$(mktemp -d "${TMPDIR:-/tmp}/kube-first.XXXXXX")"
keep=yes # the server's files, unless all goes well
finish() {
  "$here/server.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the server's files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

k() { timeout 60 "$kubectl" --kubeconfig "$dir/kubeconfig" --cache-dir "$dir/cache" "$@"; }
now() { echo $(($(date +%s%N) / 1000000)); }

# settled: three pods run and all three are endpoints.
settled() {
  k get pods,endpointslices -l app=hello -o json 2>/dev/null | jq -e '
    ([.items[] | select(.kind == "Pod" and .status.phase == "Running")] | length == 3)
    and ([.items[] | select(.kind == "EndpointSlice") | .endpoints[]? | select(.conditions.ready)] | length == 3)' >/dev/null
}
await() { # await SECONDS
  local deadline=$(($(now) + $1 * 1000))
  until settled; do [ "$(now)" -lt "$deadline" ] || return 1; sleep 0.05; done
}

begun="$(now)"
"$here/server.sh" start "$dir" "$kstore" >/dev/null
echo "ready after $(($(now) - begun)) ms, with an empty directory"
until k get serviceaccount default >/dev/null 2>&1; do sleep 0.05; done

begun="$(now)"
k apply -f - <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - {name: hello, image: hello, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: hello, labels: {app: hello}}
spec:
  selector: {app: hello}
  ports: [{port: 80}]
Y
await 60 || { k get all; k get events; echo "the pods never ran"; exit 1; }
took=$(($(now) - begun))
echo "three running pods and endpoints after $took ms"

"$here/server.sh" stop "$dir"
begun="$(now)"
"$here/server.sh" resume "$dir"
echo "ready again after $(($(now) - begun)) ms, with what was there"
await 10 || { k get pods; echo "the pods did not outlive the restart"; exit 1; }
[ "$took" -le "$((limit * 1000))" ] || { echo "more than $limit s"; exit 1; }
keep=no
