#!/usr/bin/env bash
# Runs etcdctl.sh, restarts included, against a server that it starts and stops itself.
#
#   run-etcdctl.sh BINARY COUNT ETCDCTL...
#
# BINARY is `etcd` or `kstore`, COUNT the number of members. Each ETCDCTL gets
# the same servers, one after another.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
binary="${1:?the server to test, etcd or kstore}"
count="${2:?the number of members}"
shift 2
dir="$(mktemp -d "${TMPDIR:-/tmp}/compat-etcdctl.XXXXXX")"
keep=yes # the servers' files, unless all checks pass
finish() {
  "$here/servers.sh" stop "$dir"
  if [ "$keep" = yes ]; then echo "the servers' files are in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

endpoints="$("$here/servers.sh" start "$dir" "$binary" "$count")"
verdict=0
for etcdctl in "$@"; do
  echo "== $("$etcdctl" version | head -n 1), $(basename -- "$binary"), $count member(s)"
  "$here/etcdctl.sh" "$etcdctl" "$endpoints" "'$here/servers.sh' restart '$dir'" || verdict=1
done
[ "$verdict" -ne 0 ] || keep=no
exit "$verdict"
