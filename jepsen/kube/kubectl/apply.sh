# `kubectl apply`, `diff`, `replace`: three-way merges, dry runs, refusals.
group apply

deployment() { # deployment REPLICAS IMAGE [EXTRA-CONTAINER-LINE]
  cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "$2", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
${3:-}
Y
}
deployment 0 nginx:1 '      - {name: side, image: side:1}' >"$tmp/web.yaml"
prints "dry run of the client" 'deployment.apps/web created (dry run)' -- apply --dry-run=client -f "$tmp/web.yaml"
prints "dry run of the server" 'deployment.apps/web created (server dry run)' -- apply --dry-run=server -f "$tmp/web.yaml"
prints "neither made it" '' -- get deployment web --ignore-not-found
prints "creates" 'deployment.apps/web created' -- apply -f "$tmp/web.yaml"
prints "changes nothing" 'deployment.apps/web unchanged' -- apply -f "$tmp/web.yaml"
picks "and makes no new generation" .metadata.generation 1 -- get deployment web
deployment 0 nginx:2 >"$tmp/web2.yaml"
call diff -f "$tmp/web2.yaml"
same "diff says what would change" "$code $(grep -E '^[-+] ' "$tmp/out" | grep -E 'generation|image: nginx' | tr '\n' ' ')" '1 - generation: 1 + generation: 2 - image: nginx:1 + image: nginx:2 '
prints "configures" 'deployment.apps/web configured' -- apply -f "$tmp/web2.yaml"
picks "a container left out goes, the other is changed" '[.spec.template.spec.containers[] | .name + "=" + .image] | join(",")' 'main=nginx:2' -- get deployment web
ends "diff of nothing" 0 -- diff -f "$tmp/web2.yaml"
quietly set env deployment/web B=2
quietly scale deployment web --replicas=0
prints "what others have set stays" 'deployment.apps/web configured' -- apply -f - <<<"$(deployment 0 nginx:3)"
picks "in lists that merge by key, too" '[.spec.template.spec.containers[0].env[] | .name + "=" + .value] | join(",")' 'A=1,B=2' -- get deployment web
picks "the last applied configuration" '.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"] | fromjson | .spec.template.spec.containers[0].image' nginx:3 -- get deployment web
shows "view-last-applied" '^ - image: nginx:3$|image: nginx:3$' -- apply view-last-applied deployment web
prints "set-last-applied" 'deployment.apps/web configured' -- apply set-last-applied -f "$tmp/web2.yaml"
shows "which then is that" 'image: nginx:2$' -- apply view-last-applied deployment/web -o yaml

echo $'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}, data: {a: "1", b: "2"}}' >"$tmp/plain.yaml"
quietly create -f "$tmp/plain.yaml"
warns "a warning for what was not made by apply" "Warning: resource configmaps/plain is missing the kubectl.kubernetes.io/last-applied-configuration annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically." \
  -- apply -f "$tmp/plain.yaml"
prints "a key left out goes" 'configmap/plain configured' -- apply -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}, data: {b: "3"}}'
picks "and only that" '.data | tojson' '{"b":"3"}' -- get configmap plain
prints "several at once" 'configmap/plain unchanged
configmap/other created' -- apply -f - <<'Y'
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}, data: {b: "3"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: other, labels: {set: one}}}
Y
shows "prune" '^configmap/kept created$' '^configmap/other pruned$' -- apply --prune -l set=one --prune-allowlist=core/v1/ConfigMap -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, labels: {set: one}}}'
prints "a folder, with all below" 'configmap/deep created' -- apply -R -f <(echo $'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: deep}}')
mkdir -p "$tmp/kustom"
echo $'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: base}}' >"$tmp/kustom/cm.yaml"
echo '{resources: [cm.yaml], namePrefix: my-, labels: [{pairs: {from: kustomize}}]}' >"$tmp/kustom/kustomization.yaml"
prints "a kustomization" 'configmap/my-base created' -- apply -k "$tmp/kustom"
fails "an unknown field" "Error from server (BadRequest): error when creating \"STDIN\": ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dada\"" \
  -- apply -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: typo}, dada: {b: "3"}}'
warns "is only told when validation warns" 'Warning: unknown field "dada"' -- apply --validate=warn -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: typo}, dada: {b: "3"}}'
warns "and not even that when it is off" '' -- apply --validate=ignore -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: typo2}, dada: {b: "3"}}'
rejects "what cannot be changed" 'spec.selector: Invalid value: .*: field is immutable$' -- apply -f - <<<"$(deployment 0 nginx:3 | sed 's/app: web}/app: other}/')"
if kstore; then
  rejects "server-side apply has its clear refusal" 'Server-side apply not available on the server' -- apply --server-side -f "$tmp/plain.yaml"
else
  skip "server-side apply has its clear refusal" "upstream has it"
fi

quietly create configmap old --from-literal=a=1
k get configmap old -o json | jq '.data.a = "2"' >"$tmp/old.json"
prints "replace" 'configmap/old replaced' -- replace -f "$tmp/old.json"
rejects "replace of an older version" 'Operation cannot be fulfilled on configmaps "old": the object has been modified; please apply your changes to the latest version and try again$' -- replace -f "$tmp/old.json"
prints "replace without a version" 'configmap/old replaced' -- replace -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: old}, data: {z: "9"}}'
picks "replaces all" '.data | tojson' '{"z":"9"}' -- get configmap old
shows "replace by force" '^configmap "old" deleted( from NS namespace)?$' '^configmap/old replaced$' -- replace --force -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: old}, data: {y: "9"}}'
fails "replace of what is not there" 'Error from server (NotFound): error when replacing "STDIN": configmaps "nope" not found' -- replace -f - <<<$'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: nope}}'
