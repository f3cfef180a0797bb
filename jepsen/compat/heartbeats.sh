#!/usr/bin/env bash
# What must not disturb heartbeats: large reads, a disk that does not answer, a deletion of very
# many keys. Three members of a release build on this host; a step fails if a member saw the leader
# change, or if the leader was silent for longer than the step allows.
#
#   heartbeats.sh KSTORE BENCHES ETCDCTL [KEYS]
#
#   KSTORE, BENCHES   release builds of kstore and of the load generator
#   ETCDCTL           a stock etcdctl
#   KEYS              how many keys are deleted at once (1000000)
#
# The stalled disk is strace's: it holds up each read of a file for three seconds.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 3 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
kstore="$1" benches="$2" etcdctl="$3" keys="${4:-1000000}"
heartbeat_ms=100

dir="$(mktemp -d "${TMPDIR:-/tmp}/heartbeats.XXXXXX")"
own=() # processes of ours, beside the members
clean() {
  for pid in "${own[@]}"; do kill "$pid" 2>/dev/null || true; done
  bash "$here/servers.sh" stop "$dir/cluster" 2>/dev/null || true
  rm -rf "$dir"
}
trap clean EXIT

endpoints="$(bash "$here/servers.sh" start "$dir/cluster" "$kstore" 3)"
IFS=, read -r -a members <<<"$endpoints"

metric() { # metric ENDPOINT NAME
  curl -sf --max-time 20 "http://$1/metrics" | awk -v name="$2" '$1 == name { print $2 }'
}
leader() { # prints the number of the member that leads, from 0
  for n in 0 1 2; do [ "$(metric "${members[$n]}" etcd_server_is_leader)" != 1 ] || { echo "$n"; return; }; done
  return 1
}
changes() { for m in "${members[@]}"; do metric "$m" etcd_server_leader_changes_seen_total; done | paste -sd' '; }
silence_ms() { # the longest silence of the leader that any member has seen
  for m in "${members[@]}"; do metric "$m" kstore_raft_leader_silence_max_seconds; done |
    awk '{ if ($1 * 1000 > most) most = $1 * 1000 } END { printf "%d", most }'
}
failed=0
begin() { changes_before="$(changes)" silence_before="$(silence_ms)"; }
check() { # check WHAT HEARTBEATS: since begin, no change of leader and no longer silence than so many
  local now silence
  now="$(changes)" silence="$(silence_ms)"
  if [ "$now" = "$changes_before" ] &&
    { [ "$silence" -le $(($2 * heartbeat_ms)) ] || [ "$silence" -le "$silence_before" ]; }; then
    echo "ok: $1: longest silence of the leader up to now ${silence} ms, leader changes none"
  else
    echo "FAILED: $1: longest silence ${silence_before} -> ${silence} ms, leader changes $changes_before -> $now"
    failed=1
  fi
}

load() { "$benches" put --endpoints "$endpoints" "$@"; }
ctl() { "$etcdctl" --endpoints "${members[$at]}" --command-timeout 60s --dial-timeout 20s "$@"; }

at="$(leader)"
begin
check "at rest" 2

load --clients 16 --total 20000 --keys 20000 --order sequential --value-bytes 10240 >/dev/null
check "200 MB written" 5

for _ in 1 2 3 4 5; do ctl get "" --from-key -w fields | wc -c; done | sort -u | paste -sd' ' |
  sed 's/^/five ranges of all keys, bytes printed: /'
check "200 MB range in a loop" 5

if command -v strace >/dev/null; then
  # A member that has just started has nothing in memory, so its reads go to the disk.
  fresh=$(((at + 1) % 3))
  bash "$here/servers.sh" restart "$dir/cluster" $((fresh + 1))
  id="$(ctl member list | awk -F', ' -v name="m$((fresh + 1))" '$3 == name { print $1 }')"
  ctl move-leader "$id" >/dev/null
  until [ "$(leader)" = "$fresh" ]; do sleep 0.05; done
  at="$fresh"
  pid="$(cat "$dir/cluster/m$((at + 1))/pid")"
  strace -f -p "$pid" -e trace=pread64 -e inject=pread64:delay_enter=3000000 -o "$dir/strace" 2>/dev/null &
  own+=($!)
  tracer=$!
  until grep -q TracerPid:.[1-9] "/proc/$pid/status"; do sleep 0.05; done
  begin # to trace it, all its threads were stopped for a moment
  (ctl get "" --from-key --limit 5000 -w fields >/dev/null 2>&1 || true) &
  reader=$!
  own+=("$reader")
  sleep 10
  echo "reads of the leader that the disk held up: $(grep -c pread64 "$dir/strace" || true)"
  kill "$tracer"
  wait "$tracer" 2>/dev/null || true
  kill "$reader" 2>/dev/null || true
  check "the leader's disk does not answer reads for ten seconds" 5
else
  echo "NOT RUN: the stalled disk (no strace on this machine)"
fi

load --clients 256 --total "$keys" --keys "$keys" --order sequential --value-bytes 8 >/dev/null
begin
load --clients 16 --total 200000 --keys 1000 --value-bytes 64 >"$dir/background" &
own+=($!)
background=$!
began="$(date +%s%N)"
echo "deleted under load: $(ctl del "" --from-key) keys in $((($(date +%s%N) - began) / 1000000)) ms"
wait "$background" || failed=1
awk '$1 == "per_second" || $1 == "max_us" || $1 == "failed" { printf "load meanwhile: %s %s\n", $1, $2 }' "$dir/background"
check "DeleteRange of all keys under load" 10
exit "$failed"
