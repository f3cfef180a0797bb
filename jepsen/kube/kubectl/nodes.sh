# Nodes: cordon, drain, taint. Needs a node that runs pods; leaves it as it was.
group nodes

node="$(k get nodes -o json | jq -r '[.items[] | select(any(.status.conditions[]; .type == "Ready" and .status == "True"))][0].metadata.name')"
prints "cordon" "node/$node cordoned" -- cordon "$node"
prints "cordon again" "node/$node already cordoned" -- cordon "$node"
shows "its status" "^$node Ready,SchedulingDisabled " -- get nodes
prints "by that" "node/$node" -- get nodes --field-selector "metadata.name=$node,spec.unschedulable=true" -o name
becomes "is tainted" node.kubernetes.io/unschedulable:NoSchedule -- get node "$node" -o 'jsonpath={range .spec.taints[*]}{.key}:{.effect}{end}'
quietly run waits --image=busybox
becomes "pods wait" Unschedulable -- get pod waits -o 'jsonpath={.status.conditions[0].reason}'
prints "uncordon" "node/$node uncordoned" -- uncordon "$node"
prints "and run" 'pod/waits condition met' -- wait pod/waits --for=condition=Ready --timeout=60s
prints "taint" "node/$node tainted" -- taint node "$node" "kt-$run=yes:PreferNoSchedule"
fails "taint twice" "error: node $node already has kt-$run taint(s) with same effect(s) and --overwrite is false" -- taint node "$node" "kt-$run=no:PreferNoSchedule"
shows "describe the node" "^Taints: kt-$run=yes:PreferNoSchedule\$" -- describe node "$node"
prints "untaint" "node/$node untainted" -- taint node "$node" "kt-$run-"
rejects "a taint of a wrong kind" 'invalid taint effect: Never, unsupported taint effect' -- taint node "$node" a=b:Never
prints "label" "node/$node labeled" -- label node "$node" "kt-$run=here"
quietly create -f - <<Y
---
{apiVersion: v1, kind: Pod, metadata: {name: picky, labels: {app: picky}}, spec: {nodeSelector: {kt-$run: here}, containers: [{name: c, image: i}]}}
Y
prints "a pod that asks for it" 'pod/picky condition met' -- wait pod/picky --for=condition=Ready --timeout=60s
quietly label node "$node" "kt-$run-"
rejects "drain of pods that nobody makes again" 'cannot delete .*Pods that declare no controller|cannot delete Pods' -- drain "$node" --pod-selector=app=picky --ignore-daemonsets
quietly uncordon "$node"
prints "dry run" "node/$node cordoned (server dry run)" -- cordon "$node" --dry-run=server
quietly create deployment moved --image=nginx
quietly rollout status deployment moved --timeout=60s
shows "drain" "^node/$node cordoned\$" "^evicting pod NS/moved-|^pod/moved-.* evicted\$" "^node/$node drained\$" -- drain "$node" --pod-selector=app=moved --ignore-daemonsets --delete-emptydir-data --timeout=60s
becomes "what was evicted waits elsewhere" Pending -- get pods -l app=moved -o 'jsonpath={.items[*].status.phase}'
quietly uncordon "$node"
becomes "until there is room" Running -- get pods -l app=moved -o 'jsonpath={.items[*].status.phase}'
shows "the lease of the node" "^$node $node AGE\$" -- get lease -n kube-node-lease "$node"
