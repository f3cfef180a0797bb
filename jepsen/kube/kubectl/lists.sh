# Lists: selectors of labels and fields, pages, order.
group lists

echo --- >"$tmp/many.yaml"
for n in $(seq -w 1 23); do
  printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%s","labels":{"odd":"%s","ten":"%s"}}}\n---\n' "$n" "$((10#$n % 2))" "$((10#$n / 10))"
done >>"$tmp/many.yaml"
quietly create -f "$tmp/many.yaml"
names='jsonpath={.items[*].metadata.name}'

prints "equals" 'c01 c03 c05 c07 c09' -- get cm -l odd=1,ten=0 -o "$names"
prints "double equals" 'c20 c22' -- get cm -l odd==0,ten=2 -o "$names"
prints "not equals takes what lacks the label" 'c20 c22 kube-root-ca.crt' -- get cm -l 'odd!=1,ten!=0,ten!=1' -o "$names"
prints "in a set" 'c20 c21 c22 c23' -- get cm -l 'ten in (2,3)' -o "$names"
prints "not in a set" 'c20 c22 kube-root-ca.crt' -- get cm -l 'ten notin (0,1),odd notin (1)' -o "$names"
prints "has a label" 23 -- get cm -l ten -o 'go-template={{len .items}}'
prints "lacks a label" 'kube-root-ca.crt' -- get cm -l '!ten' -o "$names"
prints "by name" c07 -- get cm --field-selector metadata.name=c07 -o "$names"
prints "by name and label" '' -- get cm --field-selector metadata.name=c07 -l odd=0 -o "$names"
prints "by namespace" 24 -- get cm --field-selector "metadata.namespace=$ns" -o 'go-template={{len .items}}'
prints "by name, not" 23 -- get cm --field-selector metadata.name!=c07 -o 'go-template={{len .items}}'
prints "in pages of five" "$(seq -f 'c%02g' 1 23)
kube-root-ca.crt" -- get cm --chunk-size=5 -o 'custom-columns=:.metadata.name' --no-headers
k get cm --chunk-size=5 -v=7 -o name 2>&1 | grep -oE 'limit=5' | wc -l >"$tmp/pages"
same "which are five requests" "$(cat "$tmp/pages")" 5
picks "the first page says what remains" '[(.items | length), .metadata.remainingItemCount, (.metadata.continue | length > 0)] | tojson' '[5,19,true]' -- get --raw "/api/v1/namespaces/$ns/configmaps?limit=5"
k get --raw "/api/v1/namespaces/$ns/configmaps?limit=20" >"$tmp/page.json"
next="$(jq -r .metadata.continue "$tmp/page.json")"
quietly create configmap c02a
picks "the next page is of the same moment" '[.items[].metadata.name] | join(" ")' 'c21 c22 c23 kube-root-ca.crt' -- get --raw "/api/v1/namespaces/$ns/configmaps?limit=20&continue=$next"
same "and has its resource version" "$(k get --raw "/api/v1/namespaces/$ns/configmaps?limit=20&continue=$next" | jq -r .metadata.resourceVersion)" "$(jq -r .metadata.resourceVersion "$tmp/page.json")"
picks "with a selector nobody counts what remains" '[(.items | length), .metadata.remainingItemCount] | tojson' '[2,null]' -- get --raw "/api/v1/namespaces/$ns/configmaps?limit=2&labelSelector=odd%3D1"
version="$(jq -r .metadata.resourceVersion "$tmp/page.json")"
picks "exactly an old version" '[.items[].metadata.name] | index("c02a")' null -- get --raw "/api/v1/namespaces/$ns/configmaps?resourceVersion=$version&resourceVersionMatch=Exact"
picks "not older than a version" '[.items[].metadata.name] | index("c02a") != null' true -- get --raw "/api/v1/namespaces/$ns/configmaps?resourceVersion=$version&resourceVersionMatch=NotOlderThan&x=$version"
warns "pods by phase and node" "No resources found in NS namespace." -- get pods --field-selector=status.phase=Running,spec.nodeName=none
fails "a field that is not known" 'Error from server (BadRequest): Unable to find "/v1, Resource=configmaps" that match label selector "", field selector "data.x=1": "data.x" is not a known field selector: only "metadata.name", "metadata.namespace"' -- get cm --field-selector data.x=1
fails "a field that pods lack" 'Error from server (BadRequest): Unable to find "/v1, Resource=pods" that match label selector "", field selector "spec.nope=1": field label not supported: spec.nope' -- get pods --field-selector spec.nope=1
