#!/usr/bin/env bash
# Kills a whole kstore (store, API server and agents in one process) at random
# moments while deployments are created, scaled and deleted. After each restart
# nothing that was acknowledged may be missing, and all must converge: as many
# ready pods as asked for, and nothing left of what was deleted.
#
#   kills.sh KSTORE KUBECTL [KILLS]          default: 30
#
# SEED=N repeats the moments and the choices of a run. The server's files are
# kept if a check fails.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="${1:?the kstore to test}"
kubectl="$(realpath -- "$(command -v -- "${2:?the kubectl to use}")")"
kills="${3:-30}"
seed="${SEED:-$$$RANDOM}"
converge_seconds=60
deployments=6
dir="$(mktemp -d "${TMPDIR:-/tmp}/kube-kills.XXXXXX")"
keep=yes # the server's files, unless all goes well
writer=""
finish() {
  [ -z "$writer" ] || kill "$writer" 2>/dev/null || true
  "$here/server.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the server's files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

k() { timeout 30 "$kubectl" --kubeconfig "$dir/kubeconfig" --cache-dir "$dir/cache" "$@"; }

# write: changes deployments until $dir/halt is there. What it is about to do
# goes to $dir/done as "try NAME REPLICAS", what was acknowledged as "ack ...".
# A deployment that is gone has "-" replicas.
write() {
  RANDOM=$1
  local name replicas
  declare -A now=()
  while read -r name replicas; do now[$name]=$replicas; done <"$dir/state"
  while [ ! -e "$dir/halt" ]; do
    name="d$((RANDOM % deployments))"
    replicas=$((RANDOM % 4))
    [ "$replicas" -gt 0 ] || replicas=-
    [ "${now[$name]:--}" != "$replicas" ] || continue
    echo "try $name $replicas" >>"$dir/done"
    if [ "$replicas" = - ]; then
      k delete deployment "$name" --wait=false
    elif [ "${now[$name]:--}" = - ]; then
      k create deployment "$name" --image=image --replicas="$replicas"
    else
      k scale deployment "$name" --replicas="$replicas"
    fi >/dev/null 2>&1 || return 0 # it was killed: nobody knows what came of this
    echo "ack $name $replicas" >>"$dir/done"
    now[$name]=$replicas
  done
}

# allowed: "NAME REPLICAS" for each state that a deployment may be in: the last
# one acknowledged, and one that was tried after it.
allowed() {
  awk '$1 == "ack" { last[$2] = $3; tried[$2] = "" } $1 == "try" { tried[$2] = $3; if (!($2 in last)) last[$2] = "-" }
    END { for (name in last) { print name, last[name]; if (tried[name] != "") print name, tried[name] } }' \
    <(sed 's/^/ack /' "$dir/state") "$dir/done"
}

# found: "NAME REPLICAS" of all deployments, "-" for those that are gone.
found() {
  k get deployments -o json | jq -r --argjson n "$deployments" \
    '([.items[] | {key: .metadata.name, value: .spec.replicas}] | from_entries) as $is | range($n) | "d\(.) \($is["d\(.)"] // "-")"'
}

# unsettled: prints what is not yet as it should be.
unsettled() {
  k get deployments,replicasets,pods -o json | jq -r '
    ([.items[] | select(.kind == "Deployment") | {key: .metadata.name, value: .spec.replicas}] | from_entries) as $want
    | (.items[] | select(.kind == "Deployment" and ((.status.readyReplicas // 0) != .spec.replicas or .status.observedGeneration != .metadata.generation))
        | "\(.metadata.name) has \(.status.readyReplicas // 0) ready of \(.spec.replicas)"),
      ([.items[] | select(.kind == "Pod") | .metadata.labels.app] | group_by(.)[] | select(length != ($want[.[0]] // 0))
        | "\(.[0]) has \(length) pods, not \($want[.[0]] // 0)"),
      (.items[] | select(.kind == "ReplicaSet" and $want[.metadata.labels.app] == null) | "\(.metadata.name) is left of a deployment that is gone")'
}

check() { # check ROUND
  local deadline=$((SECONDS + converge_seconds)) left name replicas
  found >"$dir/state.new"
  allowed >"$dir/allowed"
  while read -r name replicas; do
    # One that nobody has touched yet is gone, and may be.
    grep -q "^$name " "$dir/allowed" || echo "$name -" >>"$dir/allowed"
    grep -qxF -- "$name $replicas" "$dir/allowed" || {
      echo "round $1: $name has $replicas replicas, acknowledged or tried were: $(grep "^$name " "$dir/allowed" | cut -d' ' -f2 | tr '\n' ' ')"
      return 1
    }
  done <"$dir/state.new"
  mv "$dir/state.new" "$dir/state"
  while :; do
    left="$(unsettled)"
    [ -n "$left" ] || return 0
    [ $SECONDS -lt $deadline ] || { printf 'round %s: not converged:\n%s\n' "$1" "$left"; return 1; }
    sleep 0.2
  done
}

echo "seed $seed"
RANDOM=$((seed % 32768))
"$here/server.sh" start "$dir" "$kstore" >/dev/null
: >"$dir/state"
acknowledged=0
for round in $(seq "$kills"); do
  rm -f "$dir/halt"
  : >"$dir/done"
  write "$RANDOM" &
  writer=$!
  sleep "$((RANDOM % 3)).$((RANDOM % 1000 + 1000))"
  "$here/server.sh" kill "$dir"
  touch "$dir/halt"
  wait "$writer" || true
  writer=""
  acknowledged=$((acknowledged + $(grep -c '^ack' "$dir/done" || true)))
  begun="$(date +%s%N)"
  "$here/server.sh" resume "$dir"
  ready=$((($(date +%s%N) - begun) / 1000000))
  check "$round"
  echo "ok    kill $round: ready after $ready ms, all as acknowledged after $((($(date +%s%N) - begun) / 1000000)) ms"
done
keep=no
echo "$kills kills, $acknowledged acknowledged changes, none lost"
