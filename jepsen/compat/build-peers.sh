#!/usr/bin/env bash
# Builds the peers that kstore is judged by (etcd, etcdctl and etcdutl, pinned
# in tools/go.mod) into a folder, from their Go modules.
#
#   jepsen/compat/build-peers.sh [OUTDIR]      default: .cache/bin at the top of the project
#
# A peer that is there already and says the pinned version is left as it is,
# so a second call costs a second. Prints OUTDIR as its last line.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
out="${1:-$here/../../.cache/bin}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
cd "$here/tools"

# One package at a time: a peer's build must not starve what else runs.
export GOFLAGS="-buildvcs=false -p=1" CGO_ENABLED=0

# pinned MODULE: the version that go.mod asks for, without its "v".
pinned() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print substr($2, 2); exit }' go.mod; }

# peer NAME MODULE VERSION-COMMAND: builds NAME unless the right one is there.
peer() {
  local name="$1" module="$2" version_command="$3" version said=""
  version="$(pinned "$module")"
  [ -n "$version" ] || { echo "build-peers: $module is not pinned in tools/go.mod" >&2; exit 1; }
  if [ -x "$out/$name" ]; then
    said="$("$out/$name" "$version_command" 2>/dev/null | head -n 1 || true)"
    case "$said" in *" $version") echo "build-peers: $name $version is there" >&2; return ;; esac
  fi
  echo "build-peers: building $name $version" >&2
  go build -trimpath -ldflags "-s -w" -o "$out/$name.new" "$module"
  mv "$out/$name.new" "$out/$name"
}

peer etcd go.etcd.io/etcd/server/v3 --version
peer etcdctl go.etcd.io/etcd/etcdctl/v3 version
peer etcdutl go.etcd.io/etcd/etcdutl/v3 version
echo "$out"
