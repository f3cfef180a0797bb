# `kubectl patch`, `edit`, `label`, `annotate`, `set`: every way to change a part.
group patch

quietly create -f - <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "nginx:1", env: [{name: A, value: "1"}]}
      - {name: side, image: "side:1"}
Y
quietly create configmap cm --from-literal=a=1 --from-literal=b=2

prints "strategic" 'deployment.apps/web patched' -- patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"nginx:2"}]}}}}'
picks "merges lists by their key" '[.spec.template.spec.containers[] | .name + "=" + .image] | join(",")' 'main=nginx:2,side=side:1' -- get deployment web
prints "strategic with a deletion" 'deployment.apps/web patched' -- patch deployment web --type=strategic -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}'
picks "takes the item out" '[.spec.template.spec.containers[].name] | join(",")' main -- get deployment web
prints "strategic that replaces" 'deployment.apps/web patched' -- patch deployment web -p '{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}'
picks "keeps those keys alone" '.spec.strategy | tojson' '{"type":"Recreate"}' -- get deployment web
prints "merge" 'configmap/cm patched' -- patch configmap cm --type=merge -p '{"data":{"a":null,"c":"3"}}'
picks "null takes away" '.data | tojson' '{"b":"2","c":"3"}' -- get configmap cm
prints "merge replaces lists" 'deployment.apps/web patched' -- patch deployment web --type=merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"only","image":"only:1"}]}}}}'
picks "as a whole" '[.spec.template.spec.containers[] | .name + "=" + .image] | join(",")' 'only=only:1' -- get deployment web
prints "json" 'configmap/cm patched' -- patch configmap cm --type=json -p '[{"op":"test","path":"/data/b","value":"2"},{"op":"replace","path":"/data/b","value":"22"},{"op":"add","path":"/metadata/labels","value":{"x~y":"z"}},{"op":"move","from":"/data/c","path":"/data/d"},{"op":"copy","from":"/data/d","path":"/data/e"}]' --dry-run=client
prints "json, for good" 'configmap/cm patched' -- patch configmap cm --type=json -p '[{"op":"test","path":"/data/b","value":"2"},{"op":"replace","path":"/data/b","value":"22"},{"op":"move","from":"/data/c","path":"/data/d"},{"op":"copy","from":"/data/d","path":"/data/e"},{"op":"add","path":"/metadata/labels","value":{"p":"q"}}]'
picks "has done all steps" '[.data, .metadata.labels] | tojson' '[{"b":"22","d":"3","e":"3"},{"p":"q"}]' -- get configmap cm
prints "of yaml, from a file" 'configmap/cm patched' -- patch configmap cm --patch-file <(echo 'data: {f: "6"}')
prints "that changes nothing" 'configmap/cm patched (no change)' -- patch configmap cm -p '{"data":{"f":"6"}}'
version="$(k get configmap cm -o 'jsonpath={.metadata.resourceVersion}')"
quietly patch configmap cm -p '{"data":{"f":"6"}}'
same "and makes no version" "$(k get configmap cm -o 'jsonpath={.metadata.resourceVersion}')" "$version"
prints "dry run of the server" 'configmap/cm' -- patch configmap cm -p '{"data":{"f":"66"}}' --dry-run=server -o name
picks "which leaves all as it was" .data.f 6 -- get configmap cm
picks "of the status" '.status.conditions[] | select(.type == "Mine") | .reason' Because -- patch deployment web --subresource=status --type=merge -p '{"status":{"conditions":[{"type":"Mine","status":"True","reason":"Because","message":"m"}]}}'
picks "of the scale" '.kind + " " + (.spec.replicas // 0 | tostring)' "Scale 0" -- patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":0}}'
picks "the main door leaves the status" '.status.replicas' null -- patch deployment web --type=merge -p '{"status":{"replicas":7}}'
fails "json with a test that fails" 'The request is invalid: the server rejected our request due to an error in our request' -- patch configmap cm --type=json -p '[{"op":"test","path":"/data/b","value":"0"}]'
fails "json with a path that is not there" 'The request is invalid: the server rejected our request due to an error in our request' -- patch configmap cm --type=json -p '[{"op":"remove","path":"/data/none"}]'
rejects "of a wrong type" 'json: cannot unmarshal number into Go struct field ConfigMap.data of type string' -- patch configmap cm --type=merge -p '{"data":{"a":1}}'
rejects "with an old version" 'Operation cannot be fulfilled on configmaps "cm": the object has been modified' -- patch configmap cm -p '{"metadata":{"resourceVersion":"1"},"data":{"z":"z"}}'
fails "of a name that is not there" 'Error from server (NotFound): configmaps "nope" not found' -- patch configmap nope -p '{}'

editor "$tmp/ed1" 's/"22"/"23"/'
KUBE_EDITOR="$tmp/ed1" prints "edit" 'configmap/cm edited' -- edit configmap cm
picks "has edited" .data.b 23 -- get configmap cm
KUBE_EDITOR=true warns "edit without a change" 'Edit cancelled, no changes made.' -- edit configmap cm
editor "$tmp/ed2" 's/replicas: 0/replicas: -1/'
editor "$tmp/ed3" 's/reason: Because/reason: Whim/'
KUBE_EDITOR="$tmp/ed2" rejects "edit to something invalid" 'deployments.apps "web" is invalid' -- edit deployment web
KUBE_EDITOR="$tmp/ed3" prints "edit of the status" 'deployment.apps/web edited' -- edit deployment web --subresource=status
prints "label" 'configmap/cm labeled' -- label configmap cm a=1 b=2
fails "label that is there" "error: 'a' already has a value (1), and --overwrite is false" -- label configmap cm a=2
prints "label over it" 'configmap/cm labeled' -- label configmap cm a=2 --overwrite
prints "label away" 'configmap/cm unlabeled' -- label configmap cm b-
shows "labels listed" '^a=2$' '^p=q$' -- label configmap cm --list
prints "label all" 'configmap/cm labeled
configmap/kube-root-ca.crt labeled' -- label configmap --all mass=yes
rejects "label with a bad value" 'a valid label must be an empty string or consist of alphanumeric characters' -- label configmap cm c='a b'
shows "annotate" '^configmap/cm annotated?$' -- annotate configmap cm note='some words'
prints "annotations listed" 'note=some words' -- annotate configmap cm --list
shows "annotate away" '^configmap/cm annotated?$' -- annotate configmap cm note-
prints "set image" 'deployment.apps/web image updated' -- set image deployment/web only=only:2
prints "set env" 'deployment.apps/web env updated' -- set env deployment/web K=V
prints "set env listed" '# Deployment web, container only
K=V' -- set env deployment/web --list
prints "set env from a configmap" 'deployment.apps/web env updated' -- set env deployment/web --from=configmap/cm --prefix=CM_
prints "set env away" 'deployment.apps/web env updated' -- set env deployment/web K-
prints "set resources" 'deployment.apps/web resource requirements updated' -- set resources deployment/web --limits=cpu=1,memory=64Mi --requests=cpu=500m
picks "as quantities" '.spec.template.spec.containers[0].resources | tojson' '{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"500m"}}' -- get deployment web
quietly create serviceaccount robot
prints "set serviceaccount" 'deployment.apps/web serviceaccount updated' -- set serviceaccount deployment web robot
quietly create service clusterip svc --tcp=80
prints "set selector" 'service/svc selector updated' -- set selector service svc app=web
picks "selects that" '.spec.selector | tojson' '{"app":"web"}' -- get service svc
quietly create role r --verb=get --resource=pods
quietly create rolebinding rb --role=r --user=a
prints "set subject" 'rolebinding.rbac.authorization.k8s.io/rb subjects updated' -- set subject rolebinding rb --user=b
