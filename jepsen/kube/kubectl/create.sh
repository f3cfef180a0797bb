# `kubectl create` and `run`: each generator, files, dry runs.
group create

prints "a namespace, as a dry run of the server" "namespace/kt-never-$run created (server dry run)" -- create namespace "kt-never-$run" --dry-run=server
rejects "which leaves nothing behind" "namespaces \"kt-never-$run\" not found" -- get namespace "kt-never-$run"
[ "$minor" -ge 34 ] && no_time="" || no_time="
 creationTimestamp: null"
prints "a dry run of the client" "apiVersion: v1
data:
 a: b
kind: ConfigMap
metadata:$no_time
 name: never
 namespace: NS" -- create configmap never --from-literal=a=b --dry-run=client -o yaml
prints "configmap from words" 'configmap/words created' -- create configmap words --from-literal=a=1 --from-literal=b=two
picks "has the words" '.data | tojson' '{"a":"1","b":"two"}' -- get configmap words
printf 'line\n' >"$tmp/file.txt"; head -c 32 /dev/urandom >"$tmp/file.bin"
prints "configmap from files" 'configmap/files created' -- create configmap files --from-file="$tmp/file.txt" --from-file=raw="$tmp/file.bin"
picks "has text as text and bytes as bytes" '[.data["file.txt"], (.binaryData | keys[0])] | tojson' '["line\n","raw"]' -- get configmap files
prints "secret" 'secret/hidden created' -- create secret generic hidden --from-literal=password=xyzzy --type=example.com/kind
picks "is encoded" '.data.password + " " + .type' 'eHl6enk= example.com/kind' -- get secret hidden
prints "registry secret" 'secret/reg created' -- create secret docker-registry reg --docker-server=r.example --docker-username=u --docker-password=p
picks "of its type" '.type' kubernetes.io/dockerconfigjson -- get secret reg
prints "serviceaccount" 'serviceaccount/robot created' -- create serviceaccount robot
prints "role" 'role.rbac.authorization.k8s.io/reader created' -- create role reader --verb=get,list --resource=pods,deployments.apps
picks "rules by group" '[.rules[] | .apiGroups[0] + ":" + .resources[0] + ":" + (.verbs | join(","))] | join(" ")' ':pods:get,list apps:deployments:get,list' -- get role reader
prints "rolebinding" 'rolebinding.rbac.authorization.k8s.io/readers created' -- create rolebinding readers --role=reader --serviceaccount="$ns:robot" --user=jane
prints "clusterrole, dry" 'clusterrole.rbac.authorization.k8s.io/kt-all created (server dry run)' -- create clusterrole kt-all --verb='*' --resource='*' --dry-run=server
prints "clusterrole for paths" "clusterrole.rbac.authorization.k8s.io/kt-paths-$run created" -- create clusterrole "kt-paths-$run" --verb=get --non-resource-url='/logs/*'
prints "clusterrolebinding" "clusterrolebinding.rbac.authorization.k8s.io/kt-paths-$run created" -- create clusterrolebinding "kt-paths-$run" --clusterrole="kt-paths-$run" --group=kt-people
prints "both go again" "clusterrolebinding.rbac.authorization.k8s.io \"kt-paths-$run\" deleted
clusterrole.rbac.authorization.k8s.io \"kt-paths-$run\" deleted" -- delete "clusterrolebinding/kt-paths-$run" "clusterrole/kt-paths-$run"
prints "quota" 'resourcequota/cap created' -- create quota cap --hard=configmaps=100,services=20
picks "with its limits" '.spec.hard | tojson' '{"configmaps":"100","services":"20"}' -- get quota cap
prints "priorityclass" "priorityclass.scheduling.k8s.io/kt-high-$run created" -- create priorityclass "kt-high-$run" --value=1000 --description=high
picks "keeps its value" '[.value, .preemptionPolicy, .description] | tojson' '[1000,"PreemptLowerPriority","high"]' -- get priorityclass "kt-high-$run"
quietly delete priorityclass "kt-high-$run"
prints "service" 'service/inner created' -- create service clusterip inner --tcp=80:8080
picks "gets an address" '(.spec.clusterIP | test("^[0-9.]+$")) and .spec.clusterIPs[0] == .spec.clusterIP and .spec.ports[0].targetPort == 8080' true -- get service inner
prints "headless service" 'service/headless created' -- create service clusterip headless --clusterip=None
picks "has none" .spec.clusterIP None -- get service headless
prints "nodeport service" 'service/outer created' -- create service nodeport outer --tcp=80
picks "gets a port of its own" '.spec.ports[0].nodePort >= 30000 and .spec.ports[0].nodePort <= 32767' true -- get service outer
prints "externalname service" 'service/alias created' -- create service externalname alias --external-name=db.example.com
prints "deployment" 'deployment.apps/web created' -- create deployment web --image=nginx:1.25 --replicas=2 --port=80
picks "with defaults" '[.spec.strategy.type, .spec.revisionHistoryLimit, .spec.progressDeadlineSeconds, .spec.template.spec.restartPolicy, .spec.template.spec.containers[0].imagePullPolicy] | tojson' \
  '["RollingUpdate",10,600,"Always","IfNotPresent"]' -- get deployment web
quietly delete deployment web --wait=false
prints "run" 'pod/one created' -- run one --image=busybox --labels=a=b --env=K=V --restart=Never -- sleep 100
picks "as asked" '[.spec.containers[0].args, .spec.restartPolicy, .metadata.labels.a, .spec.containers[0].env[0].value] | tojson' '[["sleep","100"],"Never","b","V"]' -- get pod one
prints "run, dry" 'pod/two created (dry run)' -- run two --image=busybox --dry-run=client
shows "token" '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$' -- create token robot --duration=20m
picks "token as an object" '.status.token != "" and .spec.expirationSeconds == 1200' true -- create token robot --duration=20m

prints "from standard input, yaml" 'configmap/in created' -- create -f - <<Y
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: in}, data: {x: "1"}}
Y
prints "from standard input, json" 'configmap/in-json created' -- create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"in-json"}}'
prints "several documents" 'configmap/first created
secret/second created' -- create -f - <<'Y'
apiVersion: v1
kind: ConfigMap
metadata: {name: first}
---
apiVersion: v1
kind: Secret
metadata: {name: second}
stringData: {a: b}
Y
picks "stringData is merged into data" '[.data.a, .stringData] | tojson' '["Yg==",null]' -- get secret second
prints "a list" 'configmap/l1 created
configmap/l2 created' -- create -f - <<'Y'
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: l2}}
Y
mkdir -p "$tmp/folder"
echo '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"folder-a"}}' >"$tmp/folder/a.json"
echo $'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: folder-b}}' >"$tmp/folder/b.yaml"
prints "a folder" 'configmap/folder-a created
configmap/folder-b created' -- create -f "$tmp/folder"
k create -o name -f - >"$tmp/generated" <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"}}'
same "generated names" "$(sed -E 's/-[bcdfghjklmnpqrstvwxz2456789]{5}$/-XXXXX/' "$tmp/generated")" configmap/made-XXXXX
picks "save-config" '.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"] | fromjson | .data.x' 1 -- create --save-config -f - <<'Y'
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: saved}, data: {x: "1"}}
Y
picks "the field manager" '[.metadata.managedFields[] | .manager + " " + .operation] | join(",")' 'kubectl-create Update' -- get configmap words --show-managed-fields
picks "generation, uid and time are set" '[.metadata.generation, (.metadata.uid | length), (.metadata.creationTimestamp | fromdate > 0)] | tojson' '[1,36,true]' -- create deployment gen --image=nginx
quietly delete deployment gen --wait=false
