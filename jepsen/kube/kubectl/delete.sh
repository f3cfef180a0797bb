# `kubectl delete`: propagation, grace, finalizers, namespaces.
group delete

deleted() { # deleted WHAT NAME: what kubectl says; newer releases name the namespace, too
  if [ "$minor" -ge 34 ]; then echo "$1 \"$2\" deleted from NS namespace"; else echo "$1 \"$2\" deleted"; fi
}
for n in a b c d e f; do quietly create configmap "$n"; done
quietly label configmap d e f set=one
prints "one" "$(deleted configmap a)" -- delete configmap a
prints "two kinds of naming" "$(deleted configmap b)
$(deleted configmap c)" -- delete configmap/b configmap/c
prints "by label" "$(deleted configmap d)
$(deleted configmap e)
$(deleted configmap f)" -- delete configmap -l set=one
prints "none by label" 'No resources found' -- delete configmap -l set=one
fails "what is not there" 'Error from server (NotFound): configmaps "a" not found' -- delete configmap a
prints "what is not there, ignored" '' -- delete configmap a --ignore-not-found
quietly create configmap a
shows "dry run of the client" '^configmap "a" deleted( from NS namespace)? \(dry run\)$' -- delete configmap a --dry-run=client
shows "dry run of the server" '^configmap "a" deleted( from NS namespace)? \(server dry run\)$' -- delete configmap a --dry-run=server
prints "neither has done it" configmap/a -- get configmap a -o name
prints "names only" configmap/a -- delete configmap a -o name
quietly create secret generic s1
quietly create secret generic s2
shows "all of a kind" '^secret "s1" deleted' '^secret "s2" deleted' -- delete secrets --all
prints "by file" "$(deleted configmap filed)" -- delete -f <(quietly create configmap filed; echo $'---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: filed}}')

deployment() { quietly create deployment "$1" --image=nginx --replicas=2 && quietly rollout status deployment "$1" --timeout=60s; }
deployment back
shows "in the background" '^deployment.apps "back" deleted' -- delete deployment back --cascade=background
becomes "the rest follows" '' -- get rs,pods -l app=back -o name
deployment fore
shows "in the foreground" '^deployment.apps "fore" deleted' -- delete deployment fore --cascade=foreground --timeout=60s
prints "the rest went first" '' -- get rs -l app=fore -o name
deployment orphan
shows "orphans stay" '^deployment.apps "orphan" deleted' -- delete deployment orphan --cascade=orphan
shows "the replicaset is there" '^replicaset.apps/orphan-' -- get rs -l app=orphan -o name
prints "and has no owner" '' -- get rs -l app=orphan -o 'jsonpath={.items[*].metadata.ownerReferences}'
prints "its pods run on" 2 -- get pods -l app=orphan -o 'go-template={{len .items}}'
quietly delete rs -l app=orphan

quietly run slow --image=busybox
quietly wait pod/slow --for=condition=Ready --timeout=60s
shows "with a period of grace" '^pod "slow" deleted' -- delete pod slow --grace-period=5
prints "and it is gone" '' -- get pod slow --ignore-not-found
quietly run now --image=busybox
shows "now" '^pod "now" deleted' -- delete pod now --now
quietly run forced --image=busybox
warns "by force" 'Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.' -- delete pod forced --force --grace-period=0

quietly create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"held","finalizers":["example.com/hold"]}}'
shows "what has a finalizer" '^configmap "held" deleted' -- delete configmap held --wait=false
picks "waits for it" '[(.metadata.deletionTimestamp != null), .metadata.deletionGracePeriodSeconds, .metadata.finalizers[0]] | tojson' '[true,0,"example.com/hold"]' -- get configmap held
rejects "takes no new one" 'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted' -- patch configmap held --type=merge -p '{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}'
prints "goes with the last" 'configmap/held patched' -- patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}'
prints "is gone" '' -- get configmap held --ignore-not-found

inner="kt-inner-$run"
quietly create namespace "$inner"
for n in $(seq 50); do k get serviceaccount default -n "$inner" >/dev/null 2>&1 && break; sleep 0.1; done
quietly -n "$inner" create deployment web --image=nginx --replicas=2
quietly -n "$inner" create configmap cm
shows "a namespace" "^namespace \"$inner\" deleted" -- delete namespace "$inner" --timeout=80s
prints "with all in it" '' -- get namespace "$inner" --ignore-not-found
fails "nothing can be made in it" "error: failed to create serviceaccount: namespaces \"$inner\" not found" -- create serviceaccount x -n "$inner"
