# What a server says about itself: versions, health, discovery, schemas.
group server

shows "version names the server" '^Server Version: .*v1\.36\.' -- version
picks "version as json" '.serverVersion.major + "." + .serverVersion.minor' 1.36 -- version
prints "raw healthz" ok -- get --raw /healthz
prints "raw readyz" ok -- get --raw /readyz
shows "raw livez, verbose" '^\[\+\]ping ok$' '^livez check passed$' -- get --raw '/livez?verbose'
shows "raw version" '"gitVersion": ?"v1\.36\.' -- get --raw /version
fails "raw of a path that is not there" \
  'Error from server (NotFound): the server could not find the requested resource' -- get --raw /apis/none.example

for version in v1 apps/v1 authentication.k8s.io/v1 authorization.k8s.io/v1 coordination.k8s.io/v1 discovery.k8s.io/v1 \
  policy/v1 rbac.authorization.k8s.io/v1 scheduling.k8s.io/v1 events.k8s.io/v1; do
  regexes+=("^${version//./\\.}\$")
done
shows "api-versions" "${regexes[@]}" -- api-versions
unset regexes
shows "api-resources" '^bindings v1 true Binding$' '^configmaps cm v1 true ConfigMap$' '^namespaces ns v1 false Namespace$' \
  '^pods po v1 true Pod$' '^services svc v1 true Service$' '^serviceaccounts sa v1 true ServiceAccount$' \
  '^deployments deploy apps/v1 true Deployment$' '^replicasets rs apps/v1 true ReplicaSet$' \
  '^leases coordination.k8s.io/v1 true Lease$' '^endpointslices discovery.k8s.io/v1 true EndpointSlice$' \
  '^priorityclasses pc scheduling.k8s.io/v1 false PriorityClass$' \
  '^selfsubjectreviews authentication.k8s.io/v1 false SelfSubjectReview$' -- api-resources
shows "api-resources of a group" '^deployments.apps$' '^replicasets.apps$' -- api-resources --api-group apps -o name
shows "api-resources without a namespace" '^nodes$' '^clusterroles.rbac.authorization.k8s.io$' -- api-resources --namespaced=false -o name
hides "api-resources leaves out the others" '^pods$' -- api-resources --namespaced=false -o name
shows "api-resources by verb" '^selfsubjectaccessreviews.authorization.k8s.io$' '^pods$' -- api-resources --verbs create -o name
hides "api-resources by a verb that some lack" '^selfsubjectaccessreviews' -- api-resources --verbs list,get -o name
shows "api-resources with verbs and categories" \
  '^pods po v1 true Pod create,delete,deletecollection,get,list,patch,update,watch all$' \
  '^namespaces ns v1 false Namespace create,delete,get,list,patch,update,watch' -- api-resources -o wide
picks "discovery in the old form" '[.resources[] | select(.name == "pods/eviction") | .group, .version, .kind] | join(" ")' \
  'policy v1 Eviction' -- get --raw /api/v1
picks "discovery of a group" '.preferredVersion.groupVersion' apps/v1 -- get --raw /apis/apps
picks "discovery of groups" '[.groups[].name] | index("apps") != null' true -- get --raw /apis
picks "schemas by group" '.paths | has("api/v1") and has("apis/apps/v1")' true -- get --raw /openapi/v3
shows "cluster-info" 'Kubernetes control plane.* is running at .*https://' -- cluster-info

shows "explain of a kind" '^KIND: Deployment$' '^VERSION: v1$' '^GROUP: apps$' ' spec <DeploymentSpec>$' -- explain deployment
shows "explain of a field" '^FIELD: replicas <integer>$' -- explain deployment.spec.replicas
shows "explain of a list" '^FIELD: containers <\[\]Container>$' '^ image <string>$' ' name <string> -required-$' -- explain pods.spec.containers
shows "explain all below" '^ containers <\[\]Container> -required-$' '^ protocol <string>' -- explain pod --recursive
shows "explain a version" '^VERSION: v1$' -- explain configmaps --api-version=v1
fails "explain of a field that is not there" 'error: field "nope" does not exist' -- explain pod.spec.nope
fails "explain of a kind that is not there" "the server doesn't have a resource type \"nopes\"" -- explain nopes
