# `kubectl get` and `describe`: each form of output.
group get

quietly create -f - <<'Y'
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {tier: web, rank: "3"}}
data: {x: "1", z: "2"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, labels: {tier: db, rank: "1"}}
data: {x: "2"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, labels: {rank: "2"}, annotations: {note: hello}}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {k: dg==}
Y
# Three of ours and the server's own.
own='metadata.name!=kube-root-ca.crt'
prints "a table" 'NAME DATA AGE
a 2 AGE
b 1 AGE
c 0 AGE' -- get configmaps --field-selector "$own"
prints "one row" 'NAME DATA AGE
a 2 AGE' -- get cm a
prints "several names" 'NAME DATA AGE
c 0 AGE
a 2 AGE' -- get cm c a
prints "without headers" 'a 2 AGE' -- get cm a --no-headers
prints "with labels" 'NAME DATA AGE LABELS
a 2 AGE rank=3,tier=web
b 1 AGE rank=1,tier=db
c 0 AGE rank=2' -- get cm --show-labels --field-selector "$own"
prints "with label columns" 'NAME DATA AGE TIER
a 2 AGE web
b 1 AGE db
c 0 AGE' -- get cm -L tier --field-selector "$own"
prints "sorted by a label" 'NAME DATA AGE
b 1 AGE
c 0 AGE
a 2 AGE' -- get cm --sort-by=.metadata.labels.rank --field-selector "$own"
prints "two kinds" 'NAME DATA AGE
configmap/a 2 AGE

NAME TYPE DATA AGE
secret/s Opaque 1 AGE' -- get cm/a secret/s
prints "with the kind" 'NAME DATA AGE
configmap/a 2 AGE' -- get cm a --show-kind
prints "names" 'configmap/a
configmap/b
configmap/c' -- get cm -o name --field-selector "$own"
prints "yaml" 'apiVersion: v1
data:
 x: "1"
 z: "2"
kind: ConfigMap
metadata:
 creationTimestamp: "TIME"
 labels:
 rank: "3"
 tier: web
 name: a
 namespace: NS
 resourceVersion: "RV"
 uid: UID' -- get cm a -o yaml
prints "json" '{
 "apiVersion": "v1",
 "data": {
 "x": "2"
 },
 "kind": "ConfigMap",
 "metadata": {
 "creationTimestamp": "TIME",
 "labels": {
 "rank": "1",
 "tier": "db"
 },
 "name": "b",
 "namespace": "NS",
 "resourceVersion": "RV",
 "uid": "UID"
 }
}' -- get cm b -o json
picks "a list in json" '[.kind, .apiVersion, .metadata.resourceVersion, (.items | length), .items[0].kind] | tojson' '["List","v1","",3,"ConfigMap"]' -- get cm --field-selector "$own"
prints "jsonpath" 'a=1 b=2 c=' -- get cm --field-selector "$own" -o 'jsonpath={range .items[*]}{.metadata.name}={.data.x} {end}'
prints "jsonpath, filtered" b -- get cm -o 'jsonpath={.items[?(@.metadata.labels.tier=="db")].metadata.name}'
prints "jsonpath as json" '[
 "web"
]' -- get cm a -o 'jsonpath-as-json={.metadata.labels.tier}'
echo '{.data.z}' >"$tmp/path"
prints "jsonpath from a file" 2 -- get cm a -o "jsonpath-file=$tmp/path"
prints "go-template" 'a:2 b:1' -- get cm a b -o 'go-template={{range .items}}{{.metadata.name}}:{{len .data}} {{end}}'
prints "custom columns" 'NAME TIER X
a web 1
b db 2
c <none> <none>' -- get cm --field-selector "$own" -o 'custom-columns=NAME:.metadata.name,TIER:.metadata.labels.tier,X:.data.x'
printf 'WHO   NOTE\n.metadata.name  .metadata.annotations.note\n' >"$tmp/columns"
prints "custom columns from a file" 'WHO NOTE
c hello' -- get cm c -o "custom-columns-file=$tmp/columns"
shows "in all namespaces" "^NS a 2 AGE$" '^NAMESPACE NAME DATA AGE$' -- get cm -A
prints "what is not there may be ignored" '' -- get cm nope --ignore-not-found
warns "nothing found" 'No resources found in NS namespace.' -- get leases
echo $'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}' >"$tmp/b.yaml"
prints "by a file" 'NAME DATA AGE
b 1 AGE' -- get -f "$tmp/b.yaml"
prints "namespaces" 'NAME STATUS AGE
NS Active AGE' -- get namespace "$ns"
shows "the default namespaces" '^default Active ' '^kube-system Active ' '^kube-public Active ' '^kube-node-lease Active ' -- get namespaces
shows "the service of the server" '^kubernetes ClusterIP [0-9.]+ <none> 443/TCP [0-9A-Za-z]+$' -- get service kubernetes -n default
quietly create role r --verb=get --resource=pods
shows "a role's table" '^NAME CREATED AT$' '^r TIME$' -- get role
quietly create rolebinding rb --role=r --user=jane --group=dev --serviceaccount="$ns:default"
prints "wide columns" 'NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS
rb Role/r AGE jane dev NS/default' -- get rolebinding rb -o wide
quietly create quota q --hard=pods=5
becomes "a quota's table counts" '{"pods":"0"}' -- get quota q -o 'jsonpath={.status.used}'
shows "quota" '^NAME( AGE)? REQUEST LIMIT( AGE)?$' 'pods: 0/5' -- get quota q
shows "nodes" '^NAME STATUS ROLES AGE VERSION$' ' Ready ' -- get nodes
shows "nodes, wide" '^NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME$' -- get nodes -o wide
shows "raw table-less list" '"kind":"ConfigMapList"' -- get --raw "/api/v1/namespaces/$ns/configmaps"
shows "describe a configmap" '^Name: a$' '^Namespace: NS$' '^Labels: rank=3$' '^ tier=web$' '^Annotations: <none>$' '^x:$' '^1$' '^BinaryData$' '^Events: <none>$' -- describe cm a
shows "describe a secret" '^Type: Opaque$' '^k: 1 bytes?$' -- describe secret s
shows "describe a namespace" '^Status: Active$' '^Resource Quotas$' '^ pods 0 5$' -- describe namespace "$ns"
shows "describe a role" '^ pods \[\] \[\] \[get\]$' -- describe role r
shows "describe a binding" '^ User jane $|^ User jane$' '^ Kind: Role$' -- describe rolebinding rb
shows "describe by label" '^Name: b$' -- describe cm -l tier=db
shows "describe a node" '^Conditions:$' '^ Ready +True' '^Allocated resources:$' -- describe nodes
shows "cluster roles of the system" '^cluster-admin$' '^system:discovery$' -- get clusterroles -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'
shows "the certificate of the server is in every namespace" 'BEGIN CERTIFICATE' -- get cm kube-root-ca.crt -o yaml
