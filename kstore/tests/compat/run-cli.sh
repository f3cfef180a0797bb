#!/usr/bin/env bash
# Runs cli.sh against a server that it starts and stops itself.
#
#   run-cli.sh BINARY ETCDCTL KSTORE [EXPECTED]
#
# BINARY is the server, `etcd` or `kstore`; the others are those of cli.sh.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
servers="$here/../../../jepsen/compat/servers.sh"
binary="${1:?the server, etcd or kstore}"
shift
dir="$(mktemp -d "${TMPDIR:-/tmp}/compat-cli.XXXXXX")"
finish() { "$servers" stop "$dir"; rm -rf "$dir"; }
trap finish EXIT

endpoint="$("$servers" start "$dir" "$binary" 1)"
timeout 10m "$here/cli.sh" "$endpoint" "$@"
