# Deployments that run: rollouts, scale, pods, events. Needs a node that runs pods.
group workloads

prints "a deployment of three" 'deployment.apps/web created' -- create deployment web --image=nginx:1 --replicas=3 --port=80
call rollout status deployment web --timeout=60s
same "rolls out" "$(tail -n 1 "$tmp/out")" 'deployment "web" successfully rolled out'
prints "is available" 'deployment.apps/web condition met' -- wait deployment/web --for=condition=Available --timeout=60s
becomes "its table" 'web 3/3 3 3 AGE' -- get deployment web --no-headers
shows "wide" '^NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR$' '^web 3/3 3 3 AGE nginx nginx:1 app=web$' -- get deployment web -o wide
shows "its replicaset" '^NAME DESIRED CURRENT READY AGE$' '^web-[a-z0-9]+ 3 3 3 AGE$' -- get rs
shows "its pods" '^NAME READY STATUS RESTARTS AGE$' '^web-[a-z0-9]+-[a-z0-9]{5} 1/1 Running 0 AGE$' -- get pods
shows "its pods, wide" '^NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES$' ' Running 0 AGE [0-9.]+ [a-z0-9.-]+ <none> <none>$' -- get pods -o wide
shows "all" '^pod/web-' '^deployment.apps/web ' '^replicaset.apps/web-' -- get all
shows "describe the deployment" '^Replicas: 3 desired \| 3 updated \| 3 total \| 3 available \| 0 unavailable$' '^StrategyType: RollingUpdate$' '^ Available True MinimumReplicasAvailable$' '^NewReplicaSet: web-[a-z0-9]+ \(3/3 replicas created\)$' 'ScalingReplicaSet' -- describe deployment web
pod="$(k get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')"
shows "describe a pod" "^Name: $pod\$" '^Status: Running$' '^Controlled By: ReplicaSet/web-' '^QoS Class: BestEffort$' 'node.kubernetes.io/not-ready:NoExecute op=Exists for AGE' 'Scheduled' -- describe pod "$pod"
shows "events of the pod" ' Normal Scheduled ' -- get events --field-selector "involvedObject.name=$pod"
shows "events" ' Normal +Scheduled +Pod/' 'Deployment/web +Scaled up replica set web-' -- events
shows "events of one object" 'Deployment/web' -- events --for deployment/web
shows "events of a type" '^LAST SEEN TYPE REASON OBJECT MESSAGE$' -- events --types=Normal
hides "no warnings" Warning -- get events --field-selector type=Warning

prints "scale" 'deployment.apps/web scaled' -- scale deployment web --replicas=4
becomes "is scaled" 4 -- get deployment web -o 'jsonpath={.status.readyReplicas}'
fails "scale on a condition that is not met" 'error: Expected replicas to be 7, was 4' -- scale deployment web --current-replicas=7 --replicas=1
prints "scale on a condition" 'deployment.apps/web scaled' -- scale deployment web --current-replicas=4 --replicas=2
becomes "is scaled down" 'web 2/2 2 2 AGE' -- get deployment web --no-headers
if kstore; then
  rejects "autoscale has its clear refusal" 'horizontalpodautoscalers|HorizontalPodAutoscaler|failed to create autoscaling/v2 HPA' -- autoscale deployment web --min=1 --max=3
else
  skip "autoscale has its clear refusal" "upstream has it"
fi
prints "set image" 'deployment.apps/web image updated' -- set image deployment/web nginx=nginx:2
call rollout status deployment web --timeout=60s
same "the rollout is told" "$(tail -n 1 "$tmp/out")" 'deployment "web" successfully rolled out'
quietly rollout status deployment web --timeout=60s
becomes "runs the new image only" 'nginx:2 nginx:2' -- get pods -l app=web -o 'jsonpath={.items[*].spec.containers[0].image}'
prints "history" 'deployment.apps/web
REVISION CHANGE-CAUSE
1 <none>
2 <none>' -- rollout history deployment web
shows "history of one" '^deployment.apps/web with revision #1$' ' Image: nginx:1$' -- rollout history deployment web --revision=1
prints "undo" 'deployment.apps/web rolled back' -- rollout undo deployment web
quietly rollout status deployment web --timeout=60s
prints "has the old image" nginx:1 -- get deployment web -o 'jsonpath={.spec.template.spec.containers[0].image}'
prints "and a new number" 'deployment.apps/web
REVISION CHANGE-CAUSE
2 <none>
3 <none>' -- rollout history deployment web
prints "undo to a revision" 'deployment.apps/web rolled back' -- rollout undo deployment web --to-revision=2
fails "undo to none" 'error: unable to find specified revision 99 in history' -- rollout undo deployment web --to-revision=99
quietly rollout status deployment web --timeout=60s
before="$(k get rs -o name | sort)"
prints "restart" 'deployment.apps/web restarted' -- rollout restart deployment web
quietly rollout status deployment web --timeout=60s
same "makes one replicaset more" "$(k get rs -o name | sort | comm -13 <(echo "$before") - | wc -l)" 1
prints "pause" 'deployment.apps/web paused' -- rollout pause deployment web
fails "pause twice" 'error: deployments.apps "web" is already paused' -- rollout pause deployment web
fails "restart of a paused one" "error: deployments.apps \"web\" can't restart paused deployment (run rollout resume first)" -- rollout restart deployment web
quietly set env deployment/web PAUSED=yes
prints "nothing moves meanwhile" 'Waiting for deployment "web" rollout to finish: 0 out of 2 new replicas have been updated...' -- rollout status deployment web -w=false
prints "resume" 'deployment.apps/web resumed' -- rollout resume deployment web
prints "and it moves" 'deployment.apps/web condition met' -- wait deployment/web --for=jsonpath='{.status.updatedReplicas}'=2 --timeout=60s
quietly rollout status deployment web --timeout=60s
becomes "all pods have it" 'yes yes' -- get pods -l app=web --field-selector status.phase=Running -o 'jsonpath={.items[*].spec.containers[0].env[0].value}'

prints "a bare pod" 'pod/bare created' -- run bare --image=busybox --labels=kind=bare
prints "is ready" 'pod/bare condition met' -- wait pod/bare --for=condition=Ready --timeout=60s
prints "wait for a phase" 'pod/bare condition met' -- wait pod/bare --for=jsonpath='{.status.phase}'=Running --timeout=30s
prints "by its phase" 'pod/bare' -- get pods --field-selector=status.phase=Running -l kind=bare -o name
prints "by not its phase" '' -- get pods --field-selector=status.phase!=Running -l kind=bare -o name
rejects "what of a pod cannot change" 'pod updates may not change fields other than' -- patch pod bare -p '{"spec":{"hostNetwork":true}}'
prints "but its image may" 'pod/bare image updated' -- set image pod/bare bare=busybox:2
quietly create -f - <<'Y'
---
{apiVersion: v1, kind: Pod, metadata: {name: huge}, spec: {containers: [{name: c, image: i, resources: {requests: {cpu: "5000"}}}]}}
Y
becomes "a pod that fits nowhere" 'PodScheduled False Unschedulable' -- get pod huge -o 'jsonpath={.status.conditions[0].type} {.status.conditions[0].status} {.status.conditions[0].reason}'
shows "and why" '^[0-9]+/[0-9]+ nodes are available: ([0-9]+ .*, )?[0-9]+ Insufficient cpu' -- get pod huge -o 'jsonpath={.status.conditions[0].message}'
becomes "is told as an event" 'Warning FailedScheduling' -- get events --field-selector involvedObject.name=huge,reason=FailedScheduling -o 'jsonpath={.items[0].type} {.items[0].reason}'
shows "pending" '^huge 0/1 Pending 0 AGE$' -- get pods
shows "a replica that goes" '^pod "web-.*" deleted' -- delete pod "$(k get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')"
becomes "is made again" 'web 2/2 2 2 AGE' -- get deployment web --no-headers
