# Who may: `kubectl auth`, impersonation, tokens, refusals.
group access

prints "an administrator may" yes -- auth can-i create pods
prints "and all" yes -- auth can-i '*' '*'
quietly create serviceaccount reader
quietly create role reader --verb=get,list --resource=configmaps
quietly create rolebinding reader --role=reader --serviceaccount="$ns:reader" --user=jane --group=kt-readers
as_reader=(--as "system:serviceaccount:$ns:reader")
prints "a reader may read" yes -- auth can-i get configmaps "${as_reader[@]}"
ends "a reader may not write" 1 -- auth can-i create configmaps "${as_reader[@]}"
call auth can-i create configmaps --as nobody
same "and is told so" "$(cat "$tmp/out")" no
same "quietly, too" "$(k auth can-i create configmaps --as nobody -q; echo $?)" 1
prints "by name" yes -- auth can-i get configmap/any --as jane
prints "by group" yes -- auth can-i list configmaps --as x --as-group kt-readers
prints "a path" yes -- auth can-i get /healthz --as jane
prints "a subresource" yes -- auth can-i get pods --subresource=log
shows "what a reader may" '^Resources Non-Resource URLs Resource Names Verbs$' '^configmaps \[\] \[\] \[get list\]$' '^selfsubjectaccessreviews.authorization.k8s.io \[\] \[\] \[create\]$' -- auth can-i --list "${as_reader[@]}"
if [ "$minor" -ge 28 ]; then
  shows "whoami" '^Username ' '^Groups \[system:masters' -- auth whoami
  picks "whoami, impersonated" '[.status.userInfo.username, (.status.userInfo.groups | join(" "))] | join(": ")' 'jane: dev system:authenticated' -- auth whoami --as jane --as-group dev
else
  skip "whoami" "kubectl 1.$minor asks versions that are gone"
  skip "whoami, impersonated" "kubectl 1.$minor asks versions that are gone"
fi

no() { printf 'Error from server (Forbidden): %s is forbidden: User "%s" cannot %s in API group "%s" %s' "$@"; }
in_ns='in the namespace "NS"'
everywhere='at the cluster scope'
reader="system:serviceaccount:NS:reader"
prints "a reader reads" 'configmap/kube-root-ca.crt' -- get configmaps -o name "${as_reader[@]}"
fails "a reader gets no other kind" "$(no pods "$reader" 'list resource "pods"' '' "$in_ns")" -- get pods "${as_reader[@]}"
fails "by name" "$(no 'pods "p"' "$reader" 'get resource "pods"' '' "$in_ns")" -- get pod p "${as_reader[@]}"
fails "nor in other namespaces" "$(no configmaps "$reader" 'list resource "configmaps"' '' 'in the namespace "default"')" -- get configmaps -n default "${as_reader[@]}"
fails "nor in all" "$(no configmaps "$reader" 'list resource "configmaps"' '' "$everywhere")" -- get configmaps -A "${as_reader[@]}"
fails "of the cluster" "$(no nodes "$reader" 'list resource "nodes"' '' "$everywhere")" -- get nodes "${as_reader[@]}"
fails "in a group" "$(no 'deployments.apps "d"' "$reader" 'get resource "deployments"' apps "$in_ns")" -- get deployment d "${as_reader[@]}"
fails "creates nothing" "error: failed to create configmap: configmaps is forbidden: User \"$reader\" cannot create resource \"configmaps\" in API group \"\" $in_ns" -- create configmap x "${as_reader[@]}"
fails "deletes nothing" "$(no 'configmaps "kube-root-ca.crt"' "$reader" 'delete resource "configmaps"' '' "$in_ns")" -- delete configmap kube-root-ca.crt "${as_reader[@]}"
fails "patches nothing" "$(no 'configmaps "kube-root-ca.crt"' "$reader" 'patch resource "configmaps"' '' "$in_ns")" -- patch configmap kube-root-ca.crt -p '{"data":{"x":"y"}}' "${as_reader[@]}"
fails "nor a path" "Error from server (Forbidden): forbidden: User \"$reader\" cannot get path \"/metrics\"" -- get --raw /metrics "${as_reader[@]}"

# With the token itself, from a file that knows no certificate of a client.
token="$(k create token reader --duration=30m)"
k config view --raw --minify -o json | jq --arg token "$token" '.users[0].user = {token: $token}' >"$tmp/token.json"
with_token() { timeout 30 "$kubectl" --kubeconfig "$tmp/token.json" --cache-dir "$tmp/cache2" -n "$ns" "$@" 2>&1 | mask; }
same "a token reads" "$(with_token get configmaps -o name)" configmap/kube-root-ca.crt
same "a token does not write" "$(with_token delete configmap kube-root-ca.crt)" "$(no 'configmaps "kube-root-ca.crt"' "$reader" 'delete resource "configmaps"' '' "$in_ns")"
same "a token may ask for itself" "$(with_token auth can-i list configmaps)" yes
same "nor becomes another" "$(with_token get configmaps --as jane | grep -oE '\(Forbidden\)|cannot impersonate' | tr '\n' ' ')" '(Forbidden) cannot impersonate '
jq '.users[0].user.token = "eyJhbGciOiJub25lIn0.e30."' "$tmp/token.json" >"$tmp/bad.json"
mv "$tmp/bad.json" "$tmp/token.json"
same "a token that is none" "$(with_token get configmaps | tail -n 1)" 'error: You must be logged in to the server (Unauthorized)'
url="$(jq -r '.clusters[0].cluster.server' "$tmp/token.json")"
nobody() { curl -sk --max-time 20 "$url$1" | mask; }
same "nobody is system:anonymous" "$(nobody "/api/v1/namespaces/$ns/configmaps" | jq -r .message)" "configmaps is forbidden: User \"system:anonymous\" cannot list resource \"configmaps\" in API group \"\" $in_ns"
same "nobody may see that it is alive" "$(nobody /livez)" ok
same "and its version" "$(nobody /version | jq -r .major)" 1
same "and no more" "$(nobody /metrics | jq -r .message)" 'forbidden: User "system:anonymous" cannot get path "/metrics"'
quietly delete rolebinding reader
becomes "a binding that is gone counts no more" '' -- get rolebinding reader --ignore-not-found
fails "at once" "$(no configmaps "$reader" 'list resource "configmaps"' '' "$in_ns")" -- get configmaps "${as_reader[@]}"
quietly create role maker --verb=create --resource=roles.rbac.authorization.k8s.io
quietly create rolebinding maker --role=maker --group=kt-makers
rejects "nobody gives what he has not" 'is attempting to grant RBAC permissions not currently held' -- create role big --verb='*' --resource='*' --as jane --as-group kt-makers
