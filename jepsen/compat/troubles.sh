#!/usr/bin/env bash
# Troubles that need a file system of their own, or another user: a data directory
# that cannot be written, a disk that is full. Each must have one clear line and
# an exit code that is not 0, and whatever was acknowledged must be there afterwards.
#
#   troubles.sh KSTORE
#
# Small file systems in memory are mounted in a mount namespace of this script's
# own, which takes root. A case that the machine does not permit is said loudly,
# as "NOT RUN: ...". All other troubles are in kstore/tests/troubles.rs. It prints
# a line for each check and, at the end, "N passed, M failed, K not run".
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="$(realpath -- "${1:?the kstore to test}")"
unset "${!ETCD_@}" "${!ETCDCTL_@}"

# Once more, inside a namespace of its own if there may be one.
if [ -z "${TROUBLES_INSIDE:-}" ]; then
  inside=no
  if unshare -m true 2>/dev/null; then inside=yes; fi
  export TROUBLES_INSIDE="$inside"
  if [ "$inside" = yes ]; then exec unshare -m bash "${BASH_SOURCE[0]}" "$kstore"; fi
fi

dir="$(mktemp -d "${TMPDIR:-/tmp}/troubles.XXXXXX")"
chmod 755 "$dir" # for the case of another user
member= # the pid of the member that runs
passed=0
failed=0
not_run=0

finish() {
  if [ -n "$member" ]; then kill -9 "$member"; wait "$member"; fi 2>/dev/null
  umount "$dir"/*/ 2>/dev/null
  if [ "$failed" -eq 0 ]; then rm -rf "$dir"; else echo "what the members said is in $dir"; fi
}
trap finish EXIT

# --- The words of the checks ----------------------------------------------

verdict() { # verdict NAME OK GOT WANT
  if [ "$2" = yes ]; then
    passed=$((passed + 1)); echo "ok    $1"
  else
    failed=$((failed + 1)); echo "FAIL  $1"
    printf '      got:  %s\n      want: %s\n' "$3" "$4"
  fi
}

same() { # same NAME GOT WANT
  if [ "$2" = "$3" ]; then verdict "$1" yes "" ""; else verdict "$1" no "$2" "$3"; fi
}

like() { # like NAME GOT PATTERN: a regular expression that the whole of it matches
  if [[ "$2" =~ ^$3$ ]]; then verdict "$1" yes "" ""; else verdict "$1" no "$2" "$3"; fi
}

not_run() { not_run=$((not_run + 1)); echo "NOT RUN: $1 ($2)"; }

# mounted NAME SIZE: a file system in memory at $dir/NAME; fails if that is not permitted.
mounted() {
  [ "$TROUBLES_INSIDE" = yes ] || return 1
  mkdir -p "$dir/$1" && mount -t tmpfs -o "size=$2" none "$dir/$1" 2>/dev/null
}

# launch DATA-DIR [COMMAND...]: starts a member, through COMMAND if given; it may end by itself.
launch() {
  local data="$1" client peer
  shift
  client="$("$here/servers.sh" port)"
  peer="$("$here/servers.sh" port "$client")"
  endpoint="127.0.0.1:$client"
  log="$dir/log.$((++launched))"
  : >"$log"
  "$@" "$kstore" server --data-dir "$data" --log-format json \
    --listen-client-urls "http://$endpoint" --advertise-client-urls "http://$endpoint" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" >"$log" 2>&1 </dev/null &
  member=$!
}
launched=0

# ready: until the member says that it serves; fails if it ends before, or takes a minute.
ready() {
  local deadline=$((SECONDS + 60))
  until grep -q "ready to serve client requests" "$log"; do
    kill -0 "$member" 2>/dev/null && [ $SECONDS -lt $deadline ] || return 1
    sleep 0.05
  done
}

# ended: until the member has ended by itself, at most 20 seconds; sets `code`.
ended() {
  local deadline=$((SECONDS + 20))
  while kill -0 "$member" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then kill -9 "$member"; echo "it had to be killed" >>"$log"; fi
    sleep 0.05
  done
  wait "$member"
  code=$?
  member=
}

# stopped: ends the member as an operator does; sets `code`.
stopped() { kill -TERM "$member" 2>/dev/null; ended; }

# complaint: the lines that are not about the usual course of things.
complaint() { grep -v '"level":"INFO"' "$log"; }

# refused NAME PATTERN: the member that was launched does not start and says one such line.
refused() {
  ended
  same "$1: exit code" "$code" 1
  like "$1: one line" "$(complaint)" "kstore server: $2"
}

ctl() { "$kstore" --endpoints "$endpoint" --command-timeout 10s "$@"; }

# --- A data directory that cannot be written ----------------------------------

read_only() {
  local name="a read-only file system"
  if ! mounted ro 64m; then not_run "$name" "no mounts here"; return; fi
  launch "$dir/ro/old"
  ready && ctl put key value >/dev/null
  stopped
  mount -o remount,ro "$dir/ro"
  launch "$dir/ro/new"
  refused "$name, no data directory yet" "make data directory $dir/ro/new: Read-only file system \(os error 30\)"
  launch "$dir/ro/old"
  refused "$name, a data directory" "data directory is not writable: $dir/ro/old: Read-only file system \(os error 30\)"
}

other_user() {
  local name="a data directory of another user" as=() data="$dir/theirs/data"
  cp "$kstore" "$dir/kstore"
  chmod 755 "$dir/kstore"
  mkdir -p "$dir/theirs"
  if [ "$(id -u)" -eq 0 ]; then as=(setpriv --reuid 65534 --regid 65534 --clear-groups); fi
  if ! "${as[@]}" "$dir/kstore" version >/dev/null 2>&1; then not_run "$name" "no other user can be had"; return; fi
  chmod 555 "$dir/theirs"
  kstore="$dir/kstore" launch "$data" "${as[@]}"
  refused "$name, not made yet" "make data directory $data: Permission denied \(os error 13\)"
  chmod 755 "$dir/theirs"
  mkdir "$data"
  chmod 555 "$data"
  kstore="$dir/kstore" launch "$data" "${as[@]}"
  refused "$name" "data directory is not writable: $data: Permission denied \(os error 13\)"
}

# --- A disk that is full ------------------------------------------------------

filler="$(printf 'x%.0s' {1..60000})"

# fill: puts until one is refused, a thousand at most; sets `acknowledged`.
fill() {
  acknowledged=0
  while [ "$acknowledged" -lt 1000 ]; do
    ctl put "$(printf 'key/%04d' "$acknowledged")" "$acknowledged-$filler" >/dev/null 2>"$dir/put.err" || return 0
    acknowledged=$((acknowledged + 1))
  done
}

full_disk() { # full_disk SIZE: in mebibytes; where the disk becomes full depends on it
  local name="a full disk of $1 MiB" data="$dir/full$1/data" space="No space left on device \(os error 28\)"
  if ! mounted "full$1" "$1m"; then not_run "$name" "no mounts here"; return; fi
  launch "$data"
  if ! ready; then verdict "$name: starts" no "$(cat "$log")" "a member"; return; fi
  fill
  ended
  same "$name: exit code" "$code" 1
  like "$name: one line" "$(complaint)" "kstore server: member ended: .*$space"
  like "$name: some puts were acknowledged, and not all" "$acknowledged" "[1-9][0-9]{0,2}"
  launch "$data"
  if ready; then stopped; else refused "$name: started again without space" ".*$space"; fi
  mount -o "remount,size=$(($1 + 100))m" "$dir/full$1"
  launch "$data"
  if ! ready; then verdict "$name: starts with more space" no "$(cat "$log")" "a member"; return; fi
  # The put that was refused may be there; none that was acknowledged may be missing.
  same "$name: every acknowledged write is there" \
    "$(ctl get key/ --prefix --print-value-only | sed 's/-x*$//' | head -n "$acknowledged")" \
    "$(seq 0 $((acknowledged - 1)))"
  same "$name: writes go on" "$(ctl put after space)" "OK"
  stopped
  same "$name: a clean stop" "$code" 0
  same "$name: verify" "$("$kstore" verify "$data" | tail -n 1)" "sound"
  umount "$dir/full$1"
}

read_only
other_user
for size in 4 6 9 14; do full_disk "$size"; done

echo "$passed passed, $failed failed, $not_run not run"
[ "$failed" -eq 0 ]
