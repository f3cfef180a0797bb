#!/usr/bin/env bash
# Three members with an API server each, agents beside each of them, and kubectl
# against the three in turn, while members are killed (-9): first a follower, then
# the leader. Nothing that was acknowledged may be missing on any of them, a watch on
# the member that stays tells every change once, and all must converge.
#
#   members.sh KSTORE KUBECTL [SECONDS]      how long each kill is worked through: 8
#
# The servers' files are kept if a check fails.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="$(realpath -- "$(command -v -- "${1:?the kstore to test}")")"
kubectl="$(realpath -- "$(command -v -- "${2:?the kubectl to use}")")"
seconds="${3:-8}"
converge_seconds=90
deployments=4
dir="$(mktemp -d "${TMPDIR:-/tmp}/kube-members.XXXXXX")"
keep=yes # the servers' files, unless all goes well
pids=()
finish() {
  touch "$dir/halt"
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  "$here/../compat/servers.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the servers' files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

fail() { echo "FAIL  $*"; exit 1; }

# k N WORD...: kubectl, asking the API server of member N, with N's kubeconfig
# unless CONFIG names another member's.
k() {
  local n="$1"
  shift
  timeout 20 "$kubectl" --kubeconfig "$dir/m${CONFIG:-$n}/data/admin.kubeconfig" --server "https://127.0.0.1:1$n$base" \
    --cache-dir "$dir/cache" --request-timeout 10s "$@"
}

# free_base: three digits that make a free port of each member.
free_base() {
  local base n
  while :; do
    base=$((100 + RANDOM % 900))
    for n in 1 2 3; do
      if (exec 3<>"/dev/tcp/127.0.0.1/1$n$base") 2>/dev/null; then continue 2; fi
    done
    echo "$base"
    return
  done
}

agents() { # agents N: those of member N, which end with the run
  local agent
  for agent in scheduler controller-manager hollow; do
    local words=("$kstore" "$agent" --kubeconfig "$dir/m$1/data/pki/$agent.kubeconfig")
    [ "$agent" != hollow ] || words+=(--node-name "hollow$1")
    setsid "${words[@]}" >>"$dir/$agent$1.log" 2>&1 </dev/null &
    pids+=($!)
  done
}

leader() { # the number of the member that leads
  local n
  for n in 1 2 3; do
    if "$kstore" endpoint status --endpoints "$(cut -d, -f"$n" "$dir/endpoints")" -w json 2>/dev/null |
      jq -e '.[0].Status | .leader == .header.member_id' >/dev/null; then
      echo "$n"
      return
    fi
  done
  return 1
}

# write: one config map and one change of a deployment after the other, by the three
# API servers in turn, until $dir/halt is there. What was acknowledged goes to
# $dir/acks; one that failed is not known, and is tried again elsewhere.
write() {
  local turn=0 count=0 name replicas
  while [ ! -e "$dir/halt" ]; do
    turn=$((turn + 1)); count=$((count + 1))
    name="c$count"
    if k $((turn % 3 + 1)) create configmap "$name" >/dev/null 2>>"$dir/write.log"; then
      echo "map $name" >>"$dir/acks"
    fi
    name="d$((count % deployments))"
    replicas=$((RANDOM % 3 + 1))
    echo "try $name $replicas" >>"$dir/acks"
    if k $(((turn + 1) % 3 + 1)) scale deployment "$name" --replicas="$replicas" >/dev/null 2>>"$dir/write.log"; then
      echo "ack $name $replicas" >>"$dir/acks"
    fi
  done
}

# unsettled N: what is not as it should be, as member N's API server sees it.
unsettled() {
  k "$1" get deployments,pods,nodes -o json | jq -r '
    ([.items[] | select(.kind == "Deployment") | {key: .metadata.name, value: .spec.replicas}] | from_entries) as $want
    | (.items[] | select(.kind == "Deployment" and ((.status.readyReplicas // 0) != .spec.replicas or .status.observedGeneration != .metadata.generation))
        | "\(.metadata.name) has \(.status.readyReplicas // 0) ready of \(.spec.replicas)"),
      ([.items[] | select(.kind == "Pod") | .metadata.labels.app] | group_by(.)[] | select(length != ($want[.[0]] // 0))
        | "\(.[0]) has \(length) pods, not \($want[.[0]] // 0)"),
      (.items[] | select(.kind == "Node") | select([.status.conditions[] | select(.type == "Ready")][0].status != "True") | "node \(.metadata.name) is not ready")' ||
    echo "the API server of m$1 does not answer"
}

converge() {
  local deadline=$((SECONDS + converge_seconds)) left n
  for n in 1 2 3; do
    while left="$(unsettled "$n")"; [ -n "$left" ]; do
      [ $SECONDS -lt $deadline ] || fail "not converged: $left"
      sleep 0.2
    done
  done
}

# acknowledged N: nothing acknowledged is missing on member N.
acknowledged() {
  local missing name last now
  k "$1" get configmaps -o name | sed 's,.*/,map ,' | sort >"$dir/found"
  missing="$(grep '^map' "$dir/acks" | sort | comm -23 - "$dir/found" | tr '\n' ' ')"
  [ -z "$missing" ] || fail "m$1 lacks $missing"
  for name in $(seq -f "d%g" 0 $((deployments - 1))); do
    now="$(k "$1" get deployment "$name" -o jsonpath='{.spec.replicas}')"
    # The last one that was acknowledged, or one that was tried after it.
    last="$(grep -E "^(try|ack) $name " "$dir/acks" | tac | awk '{ print $3 } $1 == "ack" { exit }' | sort -u | tr '\n' ' ')"
    case " ${last:-1} " in *" $now "*) ;; *) fail "m$1: $name has $now replicas, not one of $last" ;; esac
  done
}

# round N WHAT: kill -9 of member N amid the writes, a while without it, and back.
round() {
  # A write on its way to a leader that dies has an unknown end, and its client waits for as long
  # as etcd's would (7 s) to hear that: so the one writer may need longer than the others.
  local before deadline=$((SECONDS + seconds + 30))
  before="$(grep -c -E '^(map|ack)' "$dir/acks" || true)"
  "$here/../compat/servers.sh" kill "$dir" "$1"
  sleep "$seconds"
  local during=0
  until during=$(($(grep -c -E '^(map|ack)' "$dir/acks" || true) - before)); [ "$during" -gt 0 ]; do
    [ $SECONDS -lt $deadline ] || fail "nothing was acknowledged while $2 was dead"
    sleep 0.1
  done
  "$here/../compat/servers.sh" resume "$dir" "$1"
  echo "ok    kill -9 of $2 (m$1): $during changes were acknowledged without it"
}

base="$(free_base)"
"$here/../compat/servers.sh" start "$dir" "$kstore" 3 --secure-port "1{n}$base" >/dev/null
for n in 1 2 3; do
  until k "$n" get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
done
certificates="$(cat "$dir"/m?/data/pki/ca.crt | sort -u | grep -c BEGIN)"
[ "$certificates" = 1 ] || fail "the members have authorities of their own"
for n in 1 2 3; do agents "$n"; done
until k 1 get serviceaccount default >/dev/null 2>&1; do sleep 0.1; done
token="$(k 1 create token default)"
for n in 2 3; do
  CONFIG=1 k "$n" get nodes >/dev/null || fail "m1's kubeconfig is no good at m$n"
  said="$(curl -sk -H "Authorization: Bearer $token" -X POST -H 'Content-Type: application/json' -d '{}' \
    "https://127.0.0.1:1$n$base/apis/authentication.k8s.io/v1/selfsubjectreviews" | jq -r .status.userInfo.username)"
  [ "$said" = system:serviceaccount:default:default ] || fail "a token of m1's is nobody's at m$n: $said"
done
echo "ok    a kubeconfig and a token of one member are good at all"

for name in $(seq -f "d%g" 0 $((deployments - 1))); do
  k 2 create deployment "$name" --image=image >/dev/null
done
leader="$(leader)" || fail "nobody leads"
follower=$((leader % 3 + 1))
stays=$((follower % 3 + 1))
timeout 600 "$kubectl" --kubeconfig "$dir/m$stays/data/admin.kubeconfig" --cache-dir "$dir/cache" \
  get configmaps --watch -o name >"$dir/watched" 2>"$dir/watch.log" &
watch=$!
pids+=("$watch")
: >"$dir/acks"
write &
writer=$!
pids+=("$writer")
sleep 2
round "$follower" "a follower"
round "$leader" "the leader"
touch "$dir/halt"
wait "$writer" || true

converge
echo "ok    all is as it should be on each of them"
for n in 1 2 3; do acknowledged "$n"; done
echo "ok    $(grep -c -E '^(map|ack)' "$dir/acks") acknowledged changes, none missing on any"

# The kubernetes service names every server that is alive, again.
deadline=$((SECONDS + 40))
until [ "$(k "$stays" get endpoints kubernetes -o json 2>/dev/null | jq '[.subsets[]? | .ports[0].port] | unique | length')" = 3 ]; do
  [ $SECONDS -lt $deadline ] || fail "the endpoints of the kubernetes service are $(k "$stays" get endpoints kubernetes -o jsonpath='{.subsets}')"
  sleep 0.5
done
echo "ok    the kubernetes service names all three"

kill -0 "$watch" 2>/dev/null || fail "the watch on m$stays has ended: $(cat "$dir/watch.log")"
last="$(grep '^map' "$dir/acks" | tail -n 1 | sed 's,map ,configmap/,')"
deadline=$((SECONDS + 10))
until grep -qx "$last" "$dir/watched"; do
  [ $SECONDS -lt $deadline ] || fail "the watch on m$stays has not told $last"
  sleep 0.1
done
twice="$(grep '/c[0-9]' "$dir/watched" | sort | uniq -d | tr '\n' ' ')"
[ -z "$twice" ] || fail "the watch on m$stays has told twice: $twice"
untold="$(comm -23 <(k "$stays" get configmaps -o name | grep '/c[0-9]' | sort) <(sort "$dir/watched") | tr '\n' ' ')"
[ -z "$untold" ] || fail "the watch on m$stays has not told $untold"
echo "ok    a watch on m$stays has told each of $(grep -c '/c[0-9]' "$dir/watched") new objects once"
keep=no
