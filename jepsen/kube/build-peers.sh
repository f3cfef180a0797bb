#!/usr/bin/env bash
# Builds what the API server is judged by (kubectl and helm, pinned in
# tools/go.mod) into a folder, from their Go modules.
#
#   jepsen/kube/build-peers.sh [OUTDIR]      default: .cache/bin at the top of the project
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

# pinned MODULE: the version that go.mod asks for.
pinned() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' go.mod; }

# peer NAME VERSION PACKAGE VARIABLE...: builds NAME unless the right one
# is there. Both programs learn their version from variables that the linker sets.
peer() {
  local name="$1" version="$2" package="$3" said flags="-s -w" variable
  shift 3
  said="$("$out/$name" version --client 2>/dev/null || true)"
  case "$said" in *"$version"*) echo "build-peers: $name $version is there" >&2; return ;; esac
  echo "build-peers: building $name $version" >&2
  for variable in "$@"; do flags+=" -X $variable"; done
  go build -trimpath -ldflags "$flags" -o "$out/$name.new" "$package"
  mv "$out/$name.new" "$out/$name"
}

kubectl="$(pinned k8s.io/kubernetes)"
helm="$(pinned helm.sh/helm/v3)"
[ -n "$kubectl" ] && [ -n "$helm" ] || { echo "build-peers: not pinned in tools/go.mod" >&2; exit 1; }
minor="${kubectl#v1.}"
peer kubectl "$kubectl" k8s.io/kubernetes/cmd/kubectl \
  "k8s.io/component-base/version.gitVersion=$kubectl" "k8s.io/client-go/pkg/version.gitVersion=$kubectl" \
  "k8s.io/component-base/version.gitMajor=1" "k8s.io/component-base/version.gitMinor=${minor%%.*}" \
  "k8s.io/component-base/version.gitTreeState=clean"
peer helm "$helm" helm.sh/helm/v3/cmd/helm "helm.sh/helm/v3/internal/version.version=$helm"
echo "$out"
