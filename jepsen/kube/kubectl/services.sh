# Services and what is behind them.
group services

quietly create deployment web --image=nginx:1 --replicas=3 --port=80
prints "expose" 'service/web exposed' -- expose deployment web --port=8080 --target-port=80
picks "selects the pods of the deployment" '[.spec.selector.app, .spec.ports[0].port, .spec.ports[0].targetPort, .spec.type] | tojson' '["web",8080,80,"ClusterIP"]' -- get service web
shows "a service's table" '^NAME TYPE CLUSTER-IP EXTERNAL-IP PORT\(S\) AGE$' '^web ClusterIP [0-9.]+ <none> 8080/TCP AGE$' -- get service web
shows "wide" ' 8080/TCP AGE app=web$' -- get service web -o wide
becomes "endpoint slices are filled" 3 -- get endpointslices -l kubernetes.io/service-name=web -o 'go-template={{range .items}}{{len .endpoints}}{{end}}'
shows "a slice's table" '^NAME ADDRESSTYPE PORTS ENDPOINTS AGE$' '^web-[a-z0-9]{5} IPv4 80 [0-9.]+,[0-9.]+,[0-9.]+ AGE$' -- get endpointslices -l kubernetes.io/service-name=web
becomes "ready ones" 'true true true' -- get endpointslices -l kubernetes.io/service-name=web -o 'jsonpath={.items[*].endpoints[*].conditions.ready}'
becomes "endpoints, too" 3 -- get endpoints web -o 'go-template={{range .subsets}}{{len .addresses}}{{end}}'
shows "describe" '^Selector: app=web$' '^Type: ClusterIP$' '^Port: <unset> 8080/TCP$' '^Endpoints: [0-9.]+:80' -- describe service web
quietly scale deployment web --replicas=1
becomes "they follow the pods" 1 -- get endpointslices -l kubernetes.io/service-name=web -o 'go-template={{range .items}}{{len .endpoints}}{{end}}'
prints "expose as a nodeport" 'service/web-node exposed' -- expose deployment web --name=web-node --type=NodePort --port=80
shows "has a port of the node" '^web-node NodePort [0-9.]+ <none> 80:3[0-9]{4}/TCP AGE$' -- get service web-node
quietly run single --image=nginx --port=80 --labels=run=single
prints "expose a pod" 'service/single exposed' -- expose pod single --port=80
prints "expose a service" 'service/again exposed' -- expose service web --name=again --port=81
fails "expose twice" 'Error from server (AlreadyExists): services "web" already exists' -- expose deployment web --port=8080
address="$(k get service web -o 'jsonpath={.spec.clusterIP}')"
rejects "an address that is taken" "spec.clusterIPs: Invalid value: \[\"$address\"\]: failed to allocate IP $address: provided IP is already allocated" -- create service clusterip thief --tcp=80 --clusterip="$address"
rejects "an address that would change" 'spec.clusterIPs\[0\]: Invalid value: \["10\.96\.255\.254"\]: may not change once set' -- patch service web -p '{"spec":{"clusterIP":"10.96.255.254","clusterIPs":["10.96.255.254"]}}'
prints "a service without a selector" 'service/manual created' -- create -f - <<<'{"apiVersion":"v1","kind":"Service","metadata":{"name":"manual"},"spec":{"ports":[{"port":80}]}}'
prints "several ports need names" 'service/two created' -- create service clusterip two --tcp=80:80 --tcp=443:443
prints "and got them" '80-80 443-443' -- get service two -o 'jsonpath={.spec.ports[*].name}'
shows "delete" '^service "web" deleted' -- delete service web
becomes "its slices go with it" '' -- get endpointslices -l kubernetes.io/service-name=web -o name
