# `kubectl get -w` and `wait`: what comes, in which order.
group watch

quietly create configmap seen --from-literal=n=1
watching "$tmp/w1" get configmaps -w --no-headers --field-selector metadata.name!=kube-root-ca.crt
lines_come "$tmp/w1" 1
quietly create configmap next
lines_come "$tmp/w1" 2
quietly patch configmap seen -p '{"data":{"m":"2"}}'
lines_come "$tmp/w1" 3
stop_watch
same "a watch has what is there and what comes" "$(mask <"$tmp/w1")" 'seen 1 AGE
next 0 AGE
seen 2 AGE'

watching "$tmp/w2" get configmap seen --watch-only --output-watch-events -o 'jsonpath={.type} {.object.data.n}{"\n"}'
# It shows nothing when it begins: change something until it does.
for n in $(seq 100); do
  [ ! -s "$tmp/w2" ] || break
  quietly label configmap seen "tick=$n" --overwrite
  sleep 0.2
done
quietly patch configmap seen -p '{"data":{"n":"7"}}'
quietly delete configmap seen
for n in $(seq 100); do ! grep -q DELETED "$tmp/w2" || break; sleep 0.1; done
stop_watch
same "a watch of one object, with the events' types" "$(grep -v '^MODIFIED 1$' "$tmp/w2")" 'MODIFIED 7
DELETED 7'

watching "$tmp/w3" get configmaps -l pick=yes -w --no-headers --output-watch-events
sleep 1
quietly create configmap mine
quietly label configmap mine pick=yes
lines_come "$tmp/w3" 1
quietly label configmap mine pick=no --overwrite
lines_come "$tmp/w3" 2
quietly label configmap mine pick=yes --overwrite
lines_come "$tmp/w3" 3
quietly delete configmap mine
lines_come "$tmp/w3" 4
stop_watch
same "a watch with a selector: in, out, in, gone" "$(mask <"$tmp/w3")" 'ADDED mine 0 AGE
DELETED mine 0 AGE
ADDED mine 0 AGE
DELETED mine 0 AGE'

fails "two kinds cannot be watched at once" 'error: you may only specify a single resource type' -- get configmaps,secrets -w -o name

fails "waiting for what is not there" 'Error from server (NotFound): configmaps "late" not found' -- wait configmap/late --for=jsonpath='{.data.ok}'=yes --timeout=5s
quietly create configmap late
watching "$tmp/w6" wait configmap/late --for=jsonpath='{.data.ok}'=yes --timeout=60s
sleep 0.5
quietly patch configmap late -p '{"data":{"ok":"yes"}}'
lines_come "$tmp/w6" 1
same "wait for a value" "$(cat "$tmp/w6")" 'configmap/late condition met'
unset 'watches[-1]'
fails "wait gives up" 'error: timed out waiting for the condition on configmaps/late' -- wait configmap/late --for=jsonpath='{.data.ok}'=no --timeout=1s
watching "$tmp/w7" wait configmap/late --for=delete --timeout=60s
sleep 2 # it must have seen the object before it goes
quietly delete configmap late
lines_come "$tmp/w7" 1
same "wait for a deletion" "$(cat "$tmp/w7")" 'configmap/late condition met'
unset 'watches[-1]'
if [ "$minor" -ge 31 ]; then
  watching "$tmp/w8" wait configmap/new --for=create --timeout=60s
  sleep 0.5
  quietly create configmap new
  lines_come "$tmp/w8" 1
  same "wait for a creation" "$(cat "$tmp/w8")" 'configmap/new condition met'
  unset 'watches[-1]'
else
  skip "wait for a creation" "kubectl 1.$minor has no --for=create"
fi
