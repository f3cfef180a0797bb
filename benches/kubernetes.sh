#!/usr/bin/env bash
# Runs the same load against kstore and a stock kube-apiserver with etcd in turn,
# on the same disk, and prints a table in Markdown: medians of all runs, and
# kstore's as ratios to upstream's.
#
#   kubernetes.sh KSTORE [KUBE_APISERVER ETCD] [--runs N] [--scale PERCENT] [--dir DIR]
#
#   KSTORE, ...    the binaries: of release builds, for figures that are meant; without upstream's,
#                  kstore alone is measured
#   --runs N       how often each part is run; the servers take turns (1)
#   --scale P      so many percent of the usual operations (100)
#   --dir DIR      where the servers' data go, in a folder made there (the system's temporary folder)
#
# Both serve one API server on one member, over TLS and HTTP/2, without agents.
# KSTORE_BENCHES names the load generator; without it a release build is made.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
port() { "$here/../jepsen/compat/servers.sh" port "$@"; }

[ $# -ge 1 ] || usage
kstore="$1" apiserver="" etcd="" runs=1 scale=100 parent="${TMPDIR:-/tmp}"
shift
case "${1:---}" in --*) ;; *) [ $# -ge 2 ] || usage; apiserver="$1" etcd="$2"; shift 2 ;; esac
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case "$1" in
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

dir="$(mktemp -d "$parent/kubernetes.XXXXXX")"
figures="$dir/figures" # lines of: part, figure, server, value
: >"$figures"
pids=()
trap 'down; rm -rf "$dir"' EXIT

now() { echo $(($(date +%s%N) / 1000000)); }
launch() { "$@" >>"$dir/log" 2>&1 </dev/null & pids+=($!); }

down() { # ends them in the order of their start backwards, so that no API server loses its store
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    while kill -0 "${pids[i]}" 2>/dev/null; do sleep 0.05; done
    wait "${pids[i]}" 2>/dev/null || true
  done
  pids=()
}

ready() { # ready URL: waits for it
  local deadline=$((SECONDS + 90))
  until [ "$(curl -sk --max-time 5 "$1/readyz" || true)" = ok ]; do
    kill -0 "${pids[-1]}" 2>/dev/null && [ $SECONDS -lt $deadline ] || { tail -n 20 "$dir/log" >&2; exit 1; }
    sleep 0.005
  done
}

# Ports for all: the stock server takes kstore's certificates and kubeconfig over.
secure="$(port)"; client="$(port "$secure")"; peer="$(port "$secure" "$client")"
url="https://127.0.0.1:$secure"

up_kstore() { # up_kstore COMMAND: kstore's one process
  launch "$kstore" "$1" --data-dir "$dir/kstore" --secure-port "$secure" --kubeconfig "$dir/kubeconfig" \
    --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer"
  ready "$url"
}

up_upstream() {
  local pki="$dir/pki"
  launch "$etcd" --data-dir "$dir/etcd" --log-level error \
    --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer"
  launch "$apiserver" --etcd-servers "http://127.0.0.1:$client" --secure-port "$secure" --bind-address 127.0.0.1 \
    --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
    --authorization-mode Node,RBAC --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local --service-cluster-ip-range 10.96.0.0/12
  ready "$url"
}

# figure PART NAME SERVER VALUE
figure() { printf '%s\t%s\t%s\t%s\n' "$@" >>"$figures"; }
joined() { local IFS=,; echo "${pids[*]}"; }
sum() { local pid total=0; for pid in "${pids[@]}"; do total=$((total + $(awk -v f="$1:" '$1 == f { print $2 }' "/proc/$pid/status"))); done; awk -v kib="$total" 'BEGIN { printf "%.1f", kib / 1024 }'; }

# measure PART SERVER FIGURES WORD...: runs the load generator, keeps these figures of it.
measure() {
  local part="$1" server="$2" wanted="$3" out name value
  shift 3
  out="$("$KSTORE_BENCHES" "$@" --kubeconfig "$dir/kubeconfig" --pids "$(joined)")"
  while read -r name value; do
    case " $wanted " in *" $name "*) figure "$part" "$name" "$server" "$value" ;; esac
  done <<<"$out"
  echo "$server, $part: $(awk '$1 == "per_second" { print $2 }' <<<"$out")/s, $(awk '$1 == "bytes_per_answer" { print $2 }' <<<"$out") bytes an answer" >&2
}

of() { echo $(($1 * scale / 100)); }

loads() { # loads SERVER
  local server="$1" clients first=0 total
  local costs="per_second p50_us p99_us server_cpu_per_million"
  figure "without load" resident_mib "$server" "$(sum VmRSS)"
  for clients in 1 16 64; do
    total="$(of $((clients == 1 ? 2000 : 10000)))"
    measure "create configmaps of 1 KB, $clients client$([ "$clients" = 1 ] || echo s)" "$server" "$costs" \
      create-objects --clients "$clients" --first "$first" --total "$total"
    first=$((first + total))
  done
  for clients in 1 16 64; do
    measure "get, $clients client$([ "$clients" = 1 ] || echo s)" "$server" "$costs" \
      get-objects --clients "$clients" --total "$(of $((clients == 1 ? 5000 : 30000)))" --objects "$first"
  done
  for namespace in default kube-public; do
    curl -sf --cacert "$dir/pki/ca.crt" --cert "$dir/pki/admin.crt" --key "$dir/pki/admin.key" \
      -H 'Content-Type: application/json' -d '{"metadata":{"name":"default"}}' \
      "$url/api/v1/namespaces/$namespace/serviceaccounts" >/dev/null
  done
  measure "create pods of 5 KB, 16 clients" "$server" "$costs" \
    create-objects --resource pods --bytes 5000 --clients 16 --total "$(of 10000)"
  measure "create pods of 5 KB, 16 clients, 1,000 watch the pods of a node each" "$server" "$costs" \
    create-objects --resource pods --bytes 5000 --clients 16 --watchers 1000 --namespace kube-public --total "$(of 5000)"
  sleep 2 # memory of the load before goes back
  for pid in "${pids[@]}"; do echo 5 >"/proc/$pid/clear_refs"; done
  figure "before the lists" resident_mib "$server" "$(sum VmRSS)"
  measure "list of $(of 10000) pods of 5 KB, 1 client" "$server" "p50_us server_cpu_per_million peak_mib" \
    list-objects --resource pods --clients 1 --total 5
  measure "list of $(of 10000) pods of 5 KB, 4 clients" "$server" "p50_us server_cpu_per_million peak_mib" \
    list-objects --resource pods --clients 4 --connections 4 --total 12
}

starts() { # starts: kstore's whole control plane, from nothing and again
  local begun
  begun="$(now)"; up_kstore up; figure "kstore up, empty directory" ready_ms kstore "$(($(now) - begun))"
  sleep 5
  figure "kstore up, after 5 s" resident_mib kstore "$(sum VmRSS)"
  down
  begun="$(now)"; up_kstore up; figure "kstore up, again" ready_ms kstore "$(($(now) - begun))"
  sleep 5
  figure "kstore up, again, after 5 s" resident_mib kstore "$(sum VmRSS)"
  down
}

# The administrator's certificate as files, for curl.
unpack() {
  mkdir -p "$dir/pki"
  cp "$dir"/kstore/pki/*.crt "$dir"/kstore/pki/*.key "$dir/pki/"
  openssl pkey -in "$dir/pki/sa.key" -pubout -out "$dir/pki/sa.pub"
  local name
  for name in certificate:crt key:key; do
    awk -v want="client-${name%:*}-data:" '$1 == want { print $2 }' "$dir/kubeconfig" | base64 -d >"$dir/pki/admin.${name#*:}"
  done
}

for _ in $(seq "$runs"); do
  rm -rf "$dir/kstore" "$dir/etcd"
  starts
  rm -rf "$dir/kstore"
  up_kstore server; unpack; loads kstore; down
  [ -n "$apiserver" ] || continue
  up_upstream; loads upstream; down
done
echo "| load | figure | kstore | upstream | ratio |"
echo "|---|---|--:|--:|--:|"
awk -F'\t' -v peer=upstream -f "$here/table.awk" "$figures"
