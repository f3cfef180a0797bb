#!/usr/bin/env bash
# Three members that talk to each other and to their clients over TLS, each side
# with a certificate that the other one checks.
#
#   tls.sh BINARY ETCDCTL
#
# BINARY is `etcd` or `kstore`. The certificates are made by openssl for this one
# run. It prints a line for each check and, at the end, "N passed, M failed".
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
binary="${1:?the server to test, etcd or kstore}"
etcdctl="$(realpath -- "${2:?the etcdctl to use}")"
unset "${!ETCD_@}" "${!ETCDCTL_@}"
dir="$(mktemp -d "${TMPDIR:-/tmp}/compat-tls.XXXXXX")"
members="$dir/members"
passed=0
failed=0
finish() {
  "$here/servers.sh" stop "$members"
  if [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]; then rm -rf "$dir"; else echo "the members' files are in $members"; fi
}
trap finish EXIT
mkdir -p "$members"

# --- The words of the checks ----------------------------------------------

same() { # same NAME GOT WANT
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1)); echo "ok    $1"
  else
    failed=$((failed + 1)); echo "FAIL  $1"
    printf '      got:  %s\n      want: %s\n' "$2" "$3"
  fi
}

# authority NAME: who vouches for certificates.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$dir/$1.key" -out "$dir/$1.crt" 2>/dev/null
}

# certificate NAME AUTHORITY: for 127.0.0.1, to serve with and to call with.
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
  printf '%s\n' "subjectAltName = IP:127.0.0.1, DNS:localhost" "extendedKeyUsage = serverAuth, clientAuth" \
    "basicConstraints = CA:FALSE" >"$dir/$1.ext"
  openssl x509 -req -in "$dir/$1.csr" -CA "$dir/$2.crt" -CAkey "$dir/$2.key" -CAcreateserial -days 2 \
    -extfile "$dir/$1.ext" -out "$dir/$1.crt" 2>/dev/null
}

# ctl NUMBERS ARG...: etcdctl with the client's certificate against the members of these numbers.
ctl() {
  local endpoints="" n
  for n in $1; do endpoints+="${endpoints:+,}https://${endpoint[n - 1]}"; done
  shift
  timeout 30 "$etcdctl" --endpoints "$endpoints" --cacert "$dir/authority.crt" \
    --cert "$dir/client.crt" --key "$dir/client.key" --command-timeout 10s "$@" 2>"$dir/err"
}

# put_soon NUMBERS ARG...: a put, again until it is taken, at most 20 seconds: without a leader none is.
put_soon() {
  local deadline=$((SECONDS + 20))
  until ctl "$1" put "${@:2}" || [ $SECONDS -ge $deadline ]; do sleep 0.1; done
}

# said PATTERN FILE...: until some line of a file matches, at most 20 seconds.
said() {
  local pattern="$1" deadline=$((SECONDS + 20))
  shift
  until cat "$@" | grep -Eq -- "$pattern"; do
    [ $SECONDS -lt $deadline ] || { tail -n 3 "$@"; return 1; }
    sleep 0.05
  done
  echo yes
}

authority authority
authority stranger
for name in m1 m2 m3 client; do certificate "$name" authority; done
certificate foreign stranger

# --- Three members ----------------------------------------------------------

flags=(--cert-file "$dir/{m}.crt" --key-file "$dir/{m}.key"
  --trusted-ca-file "$dir/authority.crt" --client-cert-auth
  --peer-cert-file "$dir/{m}.crt" --peer-key-file "$dir/{m}.key"
  --peer-trusted-ca-file "$dir/authority.crt" --peer-client-cert-auth)
endpoints="$(SCHEME=https "$here/servers.sh" start "$members" "$binary" 3 "${flags[@]}")" || { failed=1; exit 1; }
IFS=, read -ra endpoint <<<"$endpoints"

for n in 1 2 3; do
  same "a put through member $n" "$(ctl "$n" put "key/$n" "of member $n")" "OK"
done
for n in 1 2 3; do
  same "all keys through member $n" "$(ctl "$n" get key/ --prefix --print-value-only)" \
    "$(printf 'of member %s\n' 1 2 3)"
done
same "all members are healthy" "$(ctl "1 2 3" endpoint health 2>&1 | grep -c ' is healthy')" "3"

# --- One member less -----------------------------------------------------------

"$here/servers.sh" kill "$members" 3
same "a put through each of the two others" "$(put_soon 1 key/4 four; put_soon 2 key/5 five)" "$(printf 'OK\nOK')"
"$here/servers.sh" resume "$members" 3
same "the third one comes back and has it all" \
  "$(ctl 3 get key/ --prefix --print-value-only | tail -n 2)" "$(printf 'four\nfive')"

# --- Strangers -------------------------------------------------------------------

same "a client without a certificate is refused" \
  "$(timeout 30 "$etcdctl" --endpoints "https://${endpoint[0]}" --cacert "$dir/authority.crt" \
    --command-timeout 2s get key/1 2>/dev/null || echo refused)" "refused"
same "a client with a certificate of another authority is refused" \
  "$(timeout 30 "$etcdctl" --endpoints "https://${endpoint[0]}" --cacert "$dir/authority.crt" \
    --cert "$dir/foreign.crt" --key "$dir/foreign.key" --command-timeout 2s get key/1 2>/dev/null || echo refused)" "refused"
same "a client without TLS is refused" \
  "$(timeout 30 "$etcdctl" --endpoints "http://${endpoint[0]}" --command-timeout 2s get key/1 2>/dev/null || echo refused)" "refused"

# The third member comes back once more, with a certificate that nobody vouches for.
"$here/servers.sh" kill "$members" 3
put_soon "1 2" key/6 six >/dev/null
cp "$dir/m3.crt" "$dir/m3.crt.right"
cp "$dir/m3.key" "$dir/m3.key.right"
cp "$dir/foreign.crt" "$dir/m3.crt"
cp "$dir/foreign.key" "$dir/m3.key"
for n in 1 2 3; do : >"$members/m$n/log"; done
"$here/servers.sh" launch "$members" 3
# Whoever leads calls it.
same "a member with a certificate of another authority is not called, and that is said" \
  "$(said 'invalid peer certificate: UnknownIssuer|certificate signed by unknown authority' "$members"/m[12]/log)" "yes"
same "nor listened to, and it says so" "$(said 'UnknownCA|remote error: tls' "$members/m3/log")" "yes"
same "it does not become ready" "$(grep -c 'ready to serve client requests' "$members/m3/log")" "0"
same "and the two others go on" "$(put_soon "1 2" key/7 seven)" "OK"
"$here/servers.sh" kill "$members" 3
mv "$dir/m3.crt.right" "$dir/m3.crt"
mv "$dir/m3.key.right" "$dir/m3.key"
"$here/servers.sh" resume "$members" 3
same "with its own certificate it is one of them again" \
  "$(ctl 3 get key/ --prefix --print-value-only | tail -n 2)" "$(printf 'six\nseven')"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
