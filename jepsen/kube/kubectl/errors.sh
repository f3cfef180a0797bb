# The texts of refusals, to the byte: people and programs stand on them.
group errors

pod() { # pod SPEC: a pod named p
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":%s}' "$1"
}
configmap() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":%s}' "$1"; }

fails "not found" 'Error from server (NotFound): pods "nope" not found' -- get pod nope
fails "not found, in a group" 'Error from server (NotFound): deployments.apps "nope" not found' -- get deployment nope
fails "several not found" 'Error from server (NotFound): configmaps "x" not found
Error from server (NotFound): configmaps "y" not found' -- get configmap x y
fails "a kind that is not there" "error: the server doesn't have a resource type \"nopes\"" -- get nopes
fails "a kind of a group that is not there" "error: the server doesn't have a resource type \"widgets\"" -- get widgets.example.com
fails "a namespace that is not there" "error: failed to create configmap: namespaces \"kt-none-$run\" not found" -- create configmap a -n "kt-none-$run"
quietly create configmap there
fails "already exists" 'error: failed to create configmap: configmaps "there" already exists' -- create configmap there
fails "already exists, from a file" 'Error from server (AlreadyExists): error when creating "STDIN": configmaps "there" already exists' -- create -f - <<<"$(configmap '{"name":"there"}')"
fails "a namespace that exists" 'Error from server (AlreadyExists): namespaces "default" already exists' -- create namespace default
fails "without a name" 'error: error when retrieving current configuration of:
Resource: "/v1, Resource=configmaps", GroupVersionKind: "/v1, Kind=ConfigMap"
Name: "", Namespace: "NS"
from server for: "STDIN": resource name may not be empty' -- apply -f - <<<"$(configmap '{}')"
rejects "create without a name" 'resource name may not be empty|name or generateName is required' -- create -f - <<<"$(configmap '{}')"
fails "a bad name" "The ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" \
  -- create -f - <<<"$(configmap '{"name":"A_b"}')"
fails "a name that is too long" "The ConfigMap \"$(printf 'a%.0s' $(seq 254))\" is invalid: metadata.name: Invalid value: \"$(printf 'a%.0s' $(seq 254))\": must be no more than 253 characters" \
  -- create -f - <<<"$(configmap "{\"name\":\"$(printf 'a%.0s' $(seq 254))\"}")"
rejects "a bad label" 'metadata.labels: Invalid value: "a b": a valid label must be' -- create -f - <<<"$(configmap '{"name":"x","labels":{"k":"a b"}}')"
rejects "a bad annotation" 'metadata.annotations: Invalid value: "a b": name part must consist of' -- create -f - <<<"$(configmap '{"name":"x","annotations":{"a b":"v"}}')"
rejects "a key that no file could have" 'data\[a/b\]: Invalid value: "a/b": a valid config key must consist of' -- create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a/b":"c"}}'
fails "no containers" 'The Pod "p" is invalid: spec.containers: Required value' -- create -f - <<<"$(pod '{"containers":[]}')"
fails "a container without an image" 'The Pod "p" is invalid: spec.containers[0].image: Required value' -- create -f - <<<"$(pod '{"containers":[{"name":"c"}]}')"
fails "several causes" 'The Pod "p" is invalid:
* spec.containers[0].image: Required value
* spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"' -- create -f - <<<"$(pod '{"restartPolicy":"Sometimes","containers":[{"name":"c"}]}')"
fails "two containers of a name" 'The Pod "p" is invalid: spec.containers[1].name: Duplicate value: "c"' -- create -f - <<<"$(pod '{"containers":[{"name":"c","image":"i"},{"name":"c","image":"i"}]}')"
fails "a port out of range" 'The Pod "p" is invalid: spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive' -- create -f - <<<"$(pod '{"containers":[{"name":"c","image":"i","ports":[{"containerPort":70000}]}]}')"
rejects "a quantity that is none" "quantities must match the regular expression" -- create -f - <<<"$(pod '{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"much"}}}]}')"
fails "a request above its limit" 'The Pod "p" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1' -- create -f - <<<"$(pod '{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}}}]}')"
fails "a serviceaccount that is not there" 'Error from server (Forbidden): error when creating "STDIN": pods "p" is forbidden: error looking up service account NS/ghost: serviceaccount "ghost" not found' -- create -f - <<<"$(pod '{"serviceAccountName":"ghost","containers":[{"name":"c","image":"i"}]}')"
fails "a priorityclass that is not there" 'Error from server (Forbidden): error when creating "STDIN": pods "p" is forbidden: no PriorityClass with name ghost was found' -- create -f - <<<"$(pod '{"priorityClassName":"ghost","containers":[{"name":"c","image":"i"}]}')"
fails "a selector that is not the template's" 'The Deployment "d" is invalid: spec.template.metadata.labels: Invalid value: {"app":"b"}: `selector` does not match template `labels`' \
  -- create -f - <<<'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}'
rejects "a service without ports" 'The Service "s" is invalid: spec.ports: Required value' -- create -f - <<<'{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{}}'
rejects "a node port out of range" 'spec.ports\[0\].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767' -- create service nodeport s --tcp=80 --node-port=80
rejects "a cluster address out of range" 'spec.clusterIPs: Invalid value: \["8.8.8.8"\]: failed to allocate IP 8.8.8.8: the provided network does not match the current range' -- create service clusterip s --tcp=80 --clusterip=8.8.8.8
rejects "a role without a verb" 'rules\[0\].verbs: Required value: verbs must contain at least one value' -- create -f - <<<'{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":[]}]}'
fails "strict decoding" 'Error from server (BadRequest): error when creating "STDIN": Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imag", unknown field "spec.nope"' \
  -- create -f - <<<"$(pod '{"nope":1,"containers":[{"name":"c","image":"i","imag":"i"}]}')"
rejects "a wrong type" 'json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool|unable to decode' -- create -f - <<<"$(pod '{"hostNetwork":"yes","containers":[{"name":"c","image":"i"}]}')"
fails "an unknown kind" "error: resource mapping not found for name: \"x\" namespace: \"\" from \"STDIN\": no matches for kind \"Widget\" in version \"example.com/v1\"
ensure CRDs are installed first" -- create -f - <<<'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"x"}}'
fails "a kind in the wrong version" "error: resource mapping not found for name: \"x\" namespace: \"\" from \"STDIN\": no matches for kind \"Deployment\" in version \"v1\"
ensure CRDs are installed first" -- create -f - <<<'{"apiVersion":"v1","kind":"Deployment","metadata":{"name":"x"}}'
fails "another namespace than that of the command" "error: the namespace from the provided object \"other\" does not match the namespace \"NS\". You must pass '--namespace=other' to perform this operation." -- create -f - <<<"$(configmap '{"name":"x","namespace":"other"}')"
rejects "a selector that is none" "unable to parse requirement: <nil>: Invalid value|found '=', expected" -- get pods -l 'a===b'
rejects "a field selector that is none" "invalid field selector|invalid selector: 'a'; can't understand 'a'" -- get pods --field-selector a
fails "the continue token is wrong" 'Error from server (BadRequest): invalid continue token: continue key is not valid: illegal base64 data at input byte 3' -- get --raw "/api/v1/namespaces/$ns/configmaps?continue=abc!"
rejects "a limit that is no number" 'strconv.ParseInt: parsing|invalid' -- get --raw "/api/v1/namespaces/$ns/configmaps?limit=many"
rejects "a namespace that may not go" '^Error from server \(Forbidden\): namespaces "kube-system" is forbidden: this namespace may not be deleted' -- delete namespace kube-system --dry-run=server
rejects "too large" 'Request entity too large|RequestEntityTooLarge|metadata.annotations: Too long|data: Too long|ConfigMap "big" is invalid' -- create -f - <<<"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"big\"},\"data\":{\"a\":\"$(head -c 1200000 /dev/zero | tr '\0' x)\"}}"
quietly create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"fixed"},"data":{"a":"1"},"immutable":true}'
fails "immutable" 'The ConfigMap "fixed" is invalid: data: Forbidden: field is immutable when `immutable` is set' \
  -- patch configmap fixed --type=merge -p '{"data":{"a":"2"}}'
rejects "logs of what is not there" 'rror from server \(NotFound\): pods "nope" not found' -- logs nope
rejects "scale of what is not there" '^error: no objects passed to scale|deployments.apps "nope" not found$' -- scale deployment nope --replicas=1
fails "delete of what is not there" 'Error from server (NotFound): configmaps "nope" not found' -- delete configmap nope
fails "rollout of what is not there" 'Error from server (NotFound): deployments.apps "nope" not found' -- rollout status deployment nope
fails "expose of what is not there" 'Error from server (NotFound): services "nope" not found' -- expose service nope --port=80
fails "token of what is not there" 'error: failed to create token: serviceaccounts "nope" not found' -- create token nope
quietly create quota two --hard=configmaps=4
becomes "a quota has counted" 3 -- get quota two -o 'jsonpath={.status.used.configmaps}'
quietly create configmap fourth
fails "above a quota" 'error: failed to create configmap: configmaps "fifth" is forbidden: exceeded quota: two, requested: configmaps=1, used: configmaps=4, limited: configmaps=4' -- create configmap fifth
