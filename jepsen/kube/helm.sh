#!/usr/bin/env bash
# Installs, upgrades, rolls back and uninstalls the chart beside this script with
# a stock helm 3 and checks what that leaves in the cluster.
#
#   helm.sh HELM KUBECTL KUBECONFIG
#
# One node that runs pods must be there. It prints a line for each check and, at
# the end, "N passed, M failed". RESULTS=FILE gets a line "helm: case: pass|fail" each.
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
helm="$(realpath -- "$(command -v -- "${1:?the helm to use}")")" || exit 2
kubectl="$(realpath -- "$(command -v -- "${2:?the kubectl to look with}")")" || exit 2
KUBECONFIG="$(realpath -- "${3:?the kubeconfig of an administrator}")" || exit 2
export KUBECONFIG
tmp="$(mktemp -d "${TMPDIR:-/tmp}/helm-checks.XXXXXX")"
export HELM_CACHE_HOME="$tmp/cache" HELM_CONFIG_HOME="$tmp/config" HELM_DATA_HOME="$tmp/data"
ns="kt-helm-$$-$RANDOM"
passed=0
failed=0
[ -z "${RESULTS:-}" ] || : >"$RESULTS"
finish() {
  "$kubectl" delete namespace "$ns" --wait=false --ignore-not-found >/dev/null 2>&1
  rm -rf "$tmp"
}
trap finish EXIT

h() { timeout 120 "$helm" -n "$ns" "$@" 2>&1; }
k() { timeout 60 "$kubectl" --cache-dir "$tmp/kube" -n "$ns" "$@" 2>&1; }

same() { # same CASE GOT WANT
  local verdict=pass
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1)); echo "ok    $1"
  else
    verdict=fail
    failed=$((failed + 1)); printf 'FAIL  %s\n--- got\n%s\n--- want\n%s\n---\n' "$1" "$2" "$3"
  fi
  [ -z "${RESULTS:-}" ] || echo "helm: $1: $verdict" >>"$RESULTS"
}
has() { # has CASE GOT REGEX
  if grep -Eq -- "$3" <<<"$2"; then same "$1" yes yes; else same "$1" "$2" "a line like $3"; fi
}

has "lint" "$(h lint "$here/chart")" '1 chart\(s\) linted, 0 chart\(s\) failed'
has "a dry run of the client" "$(h install one "$here/chart" --create-namespace --dry-run=client)" '^STATUS: pending-install$'
has "install" "$(h install one "$here/chart" --create-namespace --wait --timeout 90s)" '^Say hello to one-greeter.$'
has "status" "$(h status one)" '^STATUS: deployed$'
same "list" "$(h list -o json | jq -r '.[] | [.name, .revision, .status, .chart] | join(" ")')" 'one 1 deployed greeter-0.1.0'
same "the deployment runs" "$(k get deployment one-greeter -o 'jsonpath={.status.readyReplicas}')" 1
same "the chart has seen the server" "$(k get configmap one-greeter -o json | jq -r '.data | [.apps, .namespace, (.server | startswith("v1.36."))] | join(" ")')" "true default true"
same "labels and annotations of the owner" "$(k get service one-greeter -o json | jq -r '[.metadata.labels["app.kubernetes.io/managed-by"], .metadata.annotations["meta.helm.sh/release-name"]] | join(" ")')" 'Helm one'
same "the hook ran first" "$(k get configmap one-greeter-before -o 'jsonpath={.data.revision}')" 1
same "the release is a secret of its own type" "$(k get secret sh.helm.release.v1.one.v1 -o 'jsonpath={.type}')" helm.sh/release.v1
has "a name that is taken" "$(h install one "$here/chart")" 'cannot re-?use a name that is still in use'
has "an upgrade" "$(h upgrade one "$here/chart" --set replicas=3,greeting=salve,extra=true --wait --timeout 90s)" '^REVISION: 2$'
same "has more replicas" "$(k get deployment one-greeter -o 'jsonpath={.status.readyReplicas}')" 3
same "another greeting" "$(k get configmap one-greeter -o 'jsonpath={.data.greeting}')" salve
same "and one object more" "$(k get secret one-greeter -o 'jsonpath={.data.token}' | base64 -d)" swordfish
same "the hook was made anew" "$(k get configmap one-greeter-before -o 'jsonpath={.data.revision}')" 2
same "values" "$(h get values one -o json | jq -Sc .)" '{"extra":true,"greeting":"salve","replicas":3}'
has "manifest" "$(h get manifest one)" '^  replicas: 3$'
k label configmap one-greeter of=another >/dev/null
has "an upgrade that keeps values" "$(h upgrade one "$here/chart" --reuse-values --set image=greeter:2 --wait --timeout 90s)" '^REVISION: 3$'
same "keeps what others have set" "$(k get configmap one-greeter -o 'jsonpath={.metadata.labels.of}')" another
same "the new image alone runs" "$(k get deployment one-greeter -o 'jsonpath={.spec.template.spec.containers[*].image}')" greeter:2
has "a dry run of the server" "$(h upgrade one "$here/chart" --reuse-values --set replicas=9 --dry-run=server)" '^  replicas: 9$'
same "changes nothing" "$(k get deployment one-greeter -o 'jsonpath={.spec.replicas}')" 3
has "an upgrade that the server refuses" "$(h upgrade one "$here/chart" --reuse-values --set service.port=70000)" 'must be between 1 and 65535, inclusive'
has "is a failed revision" "$(h history one)" '^4[[:space:]].*failed'
has "a rollback" "$(h rollback one 1 --wait --timeout 90s)" 'Rollback was a success'
same "has the old replicas" "$(k get deployment one-greeter -o 'jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}')" '1 greeter:1'
same "and not the object of later" "$(k get secret one-greeter --ignore-not-found)" ''
same "history" "$(h history one -o json | jq -r 'map(.revision | tostring) | join(" ")')" '1 2 3 4 5'
has "install or upgrade" "$(h upgrade --install two "$here/chart" --wait --timeout 90s)" '^REVISION: 1$'
same "two releases" "$(h list -q | sort | tr '\n' ' ')" 'one two '
has "uninstall" "$(h uninstall one --wait --timeout 60s)" '^release "one" uninstalled$'
same "leaves nothing of it" "$(k get deployments,services,serviceaccounts,roles,rolebindings -l app.kubernetes.io/instance=one -o name)" ''
has "is not known any more" "$(h status one)" 'release: not found'
same "the other is there" "$(h list -q)" two
has "uninstall, and keep the history" "$(h uninstall two --keep-history)" 'release "two" uninstalled'
same "which can be listed" "$(h list --uninstalled -q)" two
has "an object of somebody else" "$(k create configmap three-greeter >/dev/null; h install three "$here/chart")" 'invalid ownership metadata'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
