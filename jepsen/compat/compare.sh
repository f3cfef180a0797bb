#!/usr/bin/env bash
# Runs the Go suite against a real etcd and against kstore and wants the same
# verdict on every case, and that verdict to be "pass".
#
#   compare.sh ETCD KSTORE [COUNT...]     with 1 and with 3 members unless said otherwise
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
etcd="${1:?the real etcd}"
kstore="${2:?the kstore to judge}"
shift 2
counts=("$@")
[ ${#counts[@]} -gt 0 ] || counts=(1 3)
lists="$(mktemp -d "${TMPDIR:-/tmp}/compat-compare.XXXXXX")"
trap 'rm -rf "$lists"' EXIT

passed=0
failed=0
for count in "${counts[@]}"; do
  "$here/run-suite.sh" "$etcd" "$count" "$lists/etcd" >"$lists/etcd.log" 2>&1 || true
  # A group that several members of etcd do not stand is not compared.
  skip="${SKIP:-}"
  if [ "$count" -gt 1 ]; then skip="ErrorsOfTxnThatWrites${skip:+,$skip}"; fi
  SKIP="$skip" "$here/run-suite.sh" "$kstore" "$count" "$lists/kstore" >"$lists/kstore.log" 2>&1 || true
  sort -o "$lists/etcd" "$lists/etcd"
  sort -o "$lists/kstore" "$lists/kstore"
  tail -n 2 "$lists/etcd.log"
  tail -n 2 "$lists/kstore.log"
  if [ ! -s "$lists/etcd" ] || [ ! -s "$lists/kstore" ]; then
    cat "$lists/etcd.log" "$lists/kstore.log"
  fi
  agreed="$(comm -12 "$lists/etcd" "$lists/kstore" | grep -c ': pass$' || true)"
  # Each case that is not passed by both, once, whichever list has it.
  disputed="$(cat "$lists/etcd" "$lists/kstore" | sed 's/: [a-z]*$//' | sort -u | wc -l)"
  disputed=$((disputed - agreed))
  echo "with $count member(s): $agreed cases pass on both, $disputed do not"
  diff --unchanged-line-format= --old-line-format='  etcd:   %L' --new-line-format='  kstore: %L' \
    "$lists/etcd" "$lists/kstore" || true
  comm -12 "$lists/etcd" "$lists/kstore" | grep -v ': pass$' | sed 's/^/  both:   /' || true
  if [ "$disputed" -gt 0 ]; then sed -n '/^--- FAIL/,$p' "$lists/kstore.log" | head -n 400; fi
  passed=$((passed + agreed))
  failed=$((failed + disputed))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
