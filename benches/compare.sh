#!/usr/bin/env bash
# Runs the same load against kstore and etcd in turn, on the same disk, and
# prints a table in Markdown: medians of all runs, and kstore's as ratios to etcd's.
#
#   compare.sh KSTORE ETCD [--load KEYS] [--runs N] [--scale PERCENT] [--dir DIR]
#
#   KSTORE, ETCD   the binaries: of release builds, for figures that are meant
#   --load KEYS    how many keys the last part loads to look at memory and restart (200000)
#   --runs N       how often each part is run; the servers take turns (1)
#   --scale P      so many percent of the usual operations (100)
#   --dir DIR      where the servers' data go, in a folder made there (the system's temporary folder)
#
# KSTORE_BENCHES names the load generator; without it a release build is made.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
servers="$here/../jepsen/compat/servers.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

[ $# -ge 2 ] || usage
kstore="$1" etcd="$2" load=200000 runs=1 scale=100 parent="${TMPDIR:-/tmp}"
shift 2
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case "$1" in
    --load) load="$2" ;;
    --runs) runs="$2" ;;
    --scale) scale="$2" ;;
    --dir) parent="$2" ;;
    *) usage ;;
  esac
  shift 2
done

if [ -z "${KSTORE_BENCHES:-}" ]; then
  (cd "$here/.." && cargo build --quiet --release -p kstore-benches)
  KSTORE_BENCHES="${CARGO_TARGET_DIR:-$here/../target}/release/kstore-benches"
fi

dir="$(mktemp -d "$parent/compare.XXXXXX")"
figures="$dir/figures" # lines of: part, figure, server, value
: >"$figures"
trap 'bash "$servers" stop "$dir/cluster" 2>/dev/null || true; rm -rf "$dir"' EXIT

pids() { cat "$dir"/cluster/m*/pid | paste -sd,; }

# note PART SERVER [FIGURE...]: keeps these figures of the output on stdin.
note() {
  local part="$1" server="$2" name value
  shift 2
  while read -r name value; do
    case " $* " in *" $name "*) printf '%s\t%s\t%s\t%s\n' "$part" "$name" "$server" "$value" >>"$figures" ;; esac
  done
}

# measure PART SERVER FIGURES WORD...: runs the load generator on the cluster that is up.
measure() {
  local part="$1" server="$2" wanted="$3" out
  shift 3
  out="$("$KSTORE_BENCHES" "$@" --endpoints "$endpoints" --pids "$(pids)")"
  # shellcheck disable=SC2086
  note "$part" "$server" $wanted <<<"$out"
  echo "$server, $part: $(awk '$1 == "per_second" { print $2 }' <<<"$out")/s" >&2
}

up() { # up BINARY MEMBERS
  rm -rf "$dir/cluster"
  endpoints="$(bash "$servers" start "$dir/cluster" "$1" "$2")"
}

down() { bash "$servers" stop "$dir/cluster"; rm -rf "$dir/cluster"; }

of() { echo $(($1 * scale / 100)); }

operations() { # operations SERVER BINARY MEMBERS
  local server="$1" members="$3" m="$3 members" costs="per_second p50_us p99_us server_cpu_per_million client_cpu_per_million written_per_byte"
  [ "$members" != 1 ] || m="1 member"
  up "$2" "$members"
  measure "put, 1 client, $m" "$server" "per_second p50_us p99_us" put --clients 1 --connections 1 --total "$(of 3000)"
  measure "put, 64 clients, $m" "$server" "$costs" put --clients 64 --total "$(of 60000)"
  measure "put, 256 clients, $m" "$server" "$costs" put --clients 256 --total "$(of 120000)"
  measure "get, 64 clients, $m" "$server" "per_second p50_us p99_us server_cpu_per_million client_cpu_per_million" \
    get --clients 64 --total "$(of 120000)"
  down
}

restart() { # restart SERVER BINARY
  local part="$load keys of 256 bytes, 1 member"
  up "$2" 1
  measure "$part" "$1" "per_second resident_mib written_per_byte" \
    put --clients 256 --total "$load" --keys "$load" --order sequential
  # A clean end first, then only the start is timed: to the first linearizable read.
  kill -TERM "$(pids)"
  while [ -d "/proc/$(pids)" ]; do sleep 0.02; done
  bash "$servers" resume "$dir/cluster" 1 &
  "$KSTORE_BENCHES" await --endpoints "$endpoints" | note "$part" "$1" ready_ms
  wait
  measure "$part, after a restart" "$1" "resident_mib" get --clients 64 --keys "$load" --total "$(of 20000)"
  down
}

table() {
  echo "| load | figure | kstore | etcd | ratio |"
  echo "|---|---|--:|--:|--:|"
  awk -F'\t' -v peer=etcd -f "$here/table.awk" "$figures"
}

for _ in $(seq "$runs"); do
  for members in 1 3; do
    operations etcd "$etcd" "$members"
    operations kstore "$kstore" "$members"
  done
  restart etcd "$etcd"
  restart kstore "$kstore"
done
table
