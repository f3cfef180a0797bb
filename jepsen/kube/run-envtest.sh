#!/usr/bin/env bash
# Lets controller-runtime's envtest start kstore as etcd and as kube-apiserver, and
# runs a manager on it (envtest/).
#
#   run-envtest.sh KSTORE KUBECTL
#
# GOTEST has further flags for `go test`; ENVTEST_OUTPUT=1 shows what the servers say.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kstore="$(realpath -- "$(command -v -- "${1:?the kstore to test}")")"
kubectl="$(realpath -- "$(command -v -- "${2:?a kubectl}")")"
assets="$(mktemp -d "${TMPDIR:-/tmp}/kube-envtest.XXXXXX")"
trap 'rm -rf "$assets"' EXIT

ln -s "$kstore" "$assets/etcd"
ln -s "$kstore" "$assets/kube-apiserver"
ln -s "$kubectl" "$assets/kubectl"
export KUBEBUILDER_ASSETS="$assets"
# shellcheck disable=SC2086 # GOTEST is a list of words
go test -C "$here/envtest" -count=1 -timeout 5m ${GOTEST:-} .
