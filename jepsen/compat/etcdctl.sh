#!/usr/bin/env bash
# Drives a stock etcdctl against running servers and checks what it answers.
#
#   etcdctl.sh ETCDCTL ENDPOINTS [RESTART]
#
# ETCDCTL is any release from 3.4 (Debian's etcd-client) to 3.6, ENDPOINTS is
# host:port of each member with commas. RESTART is a command that restarts the
# servers and returns when they serve again; without it the checks across a
# restart are left out. It prints a line for each check and, at the end,
# "N passed, M failed". run-etcdctl.sh starts servers and calls this.
set -uo pipefail

etcdctl="${1:?the etcdctl to use}"
endpoints="${2:?host:port of each member}"
restart="${3:-}"
unset "${!ETCDCTL_@}"
members="$(awk -F, '{ print NF }' <<<"$endpoints")"
one="${endpoints%%,*}" # for what must be asked of one and the same member
top="/etcdctl/$$-$RANDOM"
tmp="$(mktemp -d "${TMPDIR:-/tmp}/etcdctl-checks.XXXXXX")"
watches=()
passed=0
failed=0

finish() {
  local pid
  {
    for pid in "${watches[@]}"; do kill -9 "$pid"; done
    wait
  } 2>/dev/null
  rm -rf "$tmp"
}
trap finish EXIT

# --- The words of the checks ----------------------------------------------

# Some commands (lock, elect, watch) heed no timeout of their own, and no SIGTERM when their server is gone.
limit=30

# ctl ARG...: etcdctl against all members; what it logs besides is put aside.
ctl() { timeout -k 5 "$limit" "$etcdctl" --endpoints "$endpoints" --command-timeout 10s "$@" 2>"$tmp/err"; }

# at_one ARG...: the same against one member.
at_one() { timeout -k 5 "$limit" "$etcdctl" --endpoints "$one" --command-timeout 10s "$@" 2>"$tmp/err"; }

# json FILTER ARG...: the answer in JSON through a filter, numbers whole.
json() { local filter="$1"; shift; ctl "$@" -w json | jq -r "$filter"; }

# revision: the current one. It stays below what a JSON number can hold.
revision() { json .header.revision get "$top/none"; }

# lines TEXT...: each on a line.
lines() { printf '%s\n' "$@"; }

verdict() { # verdict NAME OK GOT WANT
  if [ "$2" = yes ]; then
    passed=$((passed + 1)); echo "ok    $1"
  else
    failed=$((failed + 1)); echo "FAIL  $1"
    printf '      got:  %s\n      want: %s\n' "$3" "$4"
    [ ! -s "$tmp/err" ] || sed 's/^/      err:  /' "$tmp/err"
  fi
}

same() { # same NAME GOT WANT: the whole answer
  if [ "$2" = "$3" ]; then verdict "$1" yes "" ""; else verdict "$1" no "$2" "$3"; fi
}

like() { # like NAME GOT PATTERN: a regular expression in some line of it
  if grep -Eq -- "$3" <<<"$2"; then verdict "$1" yes "" ""; else verdict "$1" no "$2" "$3"; fi
}

refused() { # refused NAME TEXT ARG...: etcdctl fails and says this
  local name="$1" text="$2" out
  shift 2
  if out="$(ctl "$@")"; then verdict "$name" no "$out" "an error"; return; fi
  like "$name" "$(cat "$tmp/err")" "^Error: $text\$"
}

# keys PATTERN...: the keys of an answer, which stand on odd lines, without the top.
keys() { ctl get "$@" --keys-only | sed "/^\$/d; s|^$top/||"; }

# watch FILE ARG...: a watch in the background that writes to FILE.
watch() {
  local file="$1"
  shift
  : >"$file"; : >"$file.err" # so that they are there to be looked at
  "$etcdctl" --endpoints "$endpoints" watch "$@" >"$file" 2>"$file.err" &
  watches+=($!)
  disown # its end is ours, and no news
}

# await FILE N: until FILE has N lines, at most 20 seconds.
await() {
  local deadline=$((SECONDS + 20))
  while [ "$(wc -l <"$1")" -lt "$2" ] && [ $SECONDS -lt $deadline ]; do sleep 0.05; done
}

# watching FILE KEY: until the watch is there, which is seen by a key put again
# and again; then FILE has nothing but these, and they are cut off.
watching() {
  local deadline=$((SECONDS + 20))
  until [ -s "$1" ] || [ $SECONDS -ge $deadline ]; do
    ctl put "$2" ready >/dev/null
    sleep 0.1
  done
}

# --- put and get ------------------------------------------------------------

same "put says OK" "$(ctl put "$top/a" 1)" "OK"
same "get prints the key and the value" "$(ctl get "$top/a")" "$(lines "$top/a" 1)"
same "get of a missing key prints nothing and succeeds" "$(ctl get "$top/none"; echo $?)" "0"
same "get --print-value-only prints the value" "$(ctl get "$top/a" --print-value-only)" "1"
same "get --keys-only prints the key" "$(keys "$top/a")" "a"
same "put reads its value from standard input" "$(printf 'from stdin' | ctl put "$top/stdin" && ctl get "$top/stdin" --print-value-only)" "$(lines OK "from stdin")"
same "put --prev-kv prints what was before" "$(ctl put "$top/a" 2 --prev-kv)" "$(lines OK "$top/a" 1)"
same "put --ignore-value keeps the value" "$(ctl put "$top/a" --ignore-value && ctl get "$top/a" --print-value-only)" "$(lines OK 2)"
same "get -w json has key, value and version" \
  "$(json '.kvs[0] | "\(.key|@base64d) \(.value|@base64d) \(.version)"' get "$top/a")" "$top/a 2 3"
same "get -w json has the ids, the term and the count" \
  "$(json '(.header.cluster_id > 0) and (.header.member_id > 0) and (.header.raft_term > 0) and (.count == 1)' get "$top/a")" "true"
like "get -w fields names the mod revision" "$(ctl get "$top/a" -w fields)" '^"ModRevision" : [0-9]+$'
like "get -w simple --hex prints bytes in hex" "$(ctl get "$top/a" --hex)" '^\\x32$'

ctl del "$top/" --prefix >/dev/null
for key in a b c d; do ctl put "$top/p/$key" "$key" >/dev/null; done
ctl put "$top/q" other >/dev/null
same "get --prefix prints the keys below it in order" "$(keys "$top/p/" --prefix)" "$(lines p/a p/b p/c p/d)"
same "get of a range leaves out its end" "$(keys "$top/p/b" "$top/p/d")" "$(lines p/b p/c)"
same "get --from-key begins at its key" "$(keys "$top/p/d" --from-key --limit 2)" "$(lines p/d q)"
same "get --limit cuts" "$(keys "$top/p/" --prefix --limit 2)" "$(lines p/a p/b)"
same "get --limit -w json has the whole count and more" \
  "$(json '"\(.count) \(.more)"' get "$top/p/" --prefix --limit 2)" "4 true"
same "get --order DESCEND turns the keys round" "$(keys "$top/p/" --prefix --order DESCEND)" "$(lines p/d p/c p/b p/a)"
ctl put "$top/p/b" zz >/dev/null
same "get --sort-by MODIFY sorts by the last change" "$(keys "$top/p/" --prefix --sort-by MODIFY)" "$(lines p/a p/c p/d p/b)"
same "get --sort-by CREATE sorts by the creation" "$(keys "$top/p/" --prefix --sort-by CREATE --order DESCEND)" "$(lines p/d p/c p/b p/a)"
same "get --sort-by VALUE sorts by the value" \
  "$(ctl get "$top/p/" --prefix --sort-by VALUE --order DESCEND --limit 1 --print-value-only)" "zz"
same "get --sort-by VERSION sorts by the version" "$(keys "$top/p/" --prefix --sort-by VERSION --order DESCEND --limit 1)" "p/b"

rev="$(json .header.revision put "$top/r" old)"
ctl put "$top/r" new >/dev/null
same "get --rev prints the value of that revision" "$(ctl get "$top/r" --rev "$rev" --print-value-only)" "old"
same "get --rev before the key prints nothing" "$(ctl get "$top/r" --rev "$((rev - 1))")" ""
same "get --consistency s reads from one member" "$(at_one put "$top/s" 1 && at_one get "$top/s" --consistency s --print-value-only)" "$(lines OK 1)"
refused "get of a future revision is refused" "etcdserver: mvcc: required revision is a future revision" get "$top/r" --rev $((rev + 1000000))
refused "put of an empty key is refused" "etcdserver: key is not provided" put "" 1
refused "put with an unknown lease is refused" "etcdserver: requested lease not found" put "$top/x" 1 --lease 123abc
refused "put --ignore-value of a missing key is refused" "etcdserver: key not found" put "$top/none" --ignore-value

# --- del ----------------------------------------------------------------------

same "del prints how many" "$(ctl del "$top/s")" "1"
same "del of a missing key prints 0" "$(ctl del "$top/s")" "0"
same "del --prev-kv prints what was deleted" "$(ctl del "$top/q" --prev-kv)" "$(lines 1 "$top/q" other)"
same "del of a range leaves its end" "$(ctl del "$top/p/a" "$top/p/c" && keys "$top/p/" --prefix)" "$(lines 2 p/c p/d)"
same "del --prefix deletes all below" "$(ctl del "$top/p/" --prefix && keys "$top/p/" --prefix)" "2"
same "del --from-key deletes from its key on" \
  "$(ctl put "~$top" 1 && ctl del "~$top" --from-key && keys "~$top" --from-key)" "$(lines OK 1)"

# --- txn ------------------------------------------------------------------------

ctl put "$top/t" 1 >/dev/null
same "txn whose comparison holds runs its first branch" \
  "$(lines "value(\"$top/t\") = \"1\"" "" "put $top/t 2" "" "put $top/t 3" "" | ctl txn)" "$(lines SUCCESS "" OK)"
same "txn whose comparison fails runs its second branch" \
  "$(lines "value(\"$top/t\") = \"1\"" "" "put $top/t 2" "" "get $top/t" "" | ctl txn)" "$(lines FAILURE "" "$top/t" 2)"
same "txn without comparisons does all its operations at one revision" \
  "$(lines "" "put $top/t1 x" "put $top/t2 'y z'" "" "" | ctl txn >/dev/null
     json '[.kvs[].mod_revision] | unique | length' get "$top/t1" "$top/t3")" "1"
same "txn compares versions and revisions" \
  "$(lines "ver(\"$top/t\") = \"2\"" "mod(\"$top/t\") > \"1\"" "c(\"$top/none\") = \"0\"" "" "get $top/t" "" "" | ctl txn | head -n 1)" "SUCCESS"
same "txn deletes and says how many" "$(lines "" "del $top/t1" "del $top/none" "" "" | ctl txn)" "$(lines SUCCESS "" 1 "" 0)"
same "a refused txn leaves nothing" \
  "$(lines "" "put $top/dup 1" "put $top/dup 2" "" "" | ctl txn; grep -o 'Error: .*' "$tmp/err"; keys "$top/dup")" \
  "Error: etcdserver: duplicate key given in txn request"

# --- watch ------------------------------------------------------------------------

rev="$(json .header.revision put "$top/w/a" 1)"
ctl put "$top/w/b" 2 >/dev/null
ctl del "$top/w/a" >/dev/null
history="$(lines PUT "$top/w/a" 1 PUT "$top/w/b" 2 DELETE "$top/w/a" "")"
watch "$tmp/old" "$top/w/" --prefix --rev "$rev"
await "$tmp/old" 9
same "watch --rev brings what has been" "$(cat "$tmp/old")" "${history%$'\n'}"
ctl put "$top/w/c" 3 >/dev/null
await "$tmp/old" 12
same "and goes on with what comes" "$(tail -n +10 "$tmp/old")" "$(lines PUT "$top/w/c" 3)"

watch "$tmp/live" "$top/live"
watching "$tmp/live" "$top/live"
settled="$(wc -l <"$tmp/live")"
ctl put "$top/live/not-this" 1 >/dev/null
ctl put "$top/live" now >/dev/null
await "$tmp/live" $((settled + 3))
like "watch of a key brings its puts" "$(cat "$tmp/live")" '^now$'
same "and not those of its neighbours" "$(grep -c not-this "$tmp/live")" "0"

watch "$tmp/previous" "$top/w/b" --rev "$((rev + 2))" --prev-kv
ctl put "$top/w/b" 9 >/dev/null
await "$tmp/previous" 5
same "watch --prev-kv brings what was before" "$(cat "$tmp/previous")" "$(lines PUT "$top/w/b" 2 "$top/w/b" 9)"
watch "$tmp/json" "$top/w/a" --rev "$rev" -w json
await "$tmp/json" 1
same "watch -w json has the events" "$(head -n 1 "$tmp/json" | jq -r '.Events[0].kv.key | @base64d')" "$top/w/a"

# --- lease --------------------------------------------------------------------------

said="$(ctl lease grant 100)"
like "lease grant prints the id and the TTL" "$said" '^lease [0-9a-f]{8,16} granted with TTL\(100s\)$'
lease="$(awk '{ print $2 }' <<<"$said")"
same "put --lease attaches" "$(ctl put "$top/l" 1 --lease "$lease")" "OK"
like "lease timetolive prints what is left" "$(ctl lease timetolive "$lease")" \
  "^lease $lease granted with TTL\(100s\), remaining\((9[0-9]|100)s\)\$"
like "lease timetolive --keys prints the keys" "$(ctl lease timetolive "$lease" --keys)" "attached keys\(\[$top/l\]\)\$"
like "lease list names it" "$(ctl lease list)" "^$lease\$"
same "lease keep-alive --once renews it" "$(ctl lease keep-alive "$lease" --once)" "lease $lease keepalived with TTL(100)"
same "lease revoke ends it" "$(ctl lease revoke "$lease")" "lease $lease revoked"
same "and its keys" "$(keys "$top/l")" ""
like "lease timetolive says that it is gone" "$(ctl lease timetolive "$lease")" "^lease $lease already expired\$"
refused "lease revoke of one that is gone is refused" \
  "failed to revoke lease \(etcdserver: requested lease not found\)" lease revoke "$lease"
lease="$(ctl lease grant 1 | awk '{ print $2 }')"
ctl put "$top/short" 1 --lease "$lease" >/dev/null
watch "$tmp/short" "$top/short" --rev "$(revision)"
deadline=$((SECONDS + 20))
until grep -q DELETE "$tmp/short" || [ $SECONDS -ge $deadline ]; do sleep 0.1; done
same "a short lease ends by itself and takes its key" "$(keys "$top/short")" ""

# --- compaction -------------------------------------------------------------------------

rev="$(json .header.revision put "$top/c" 1)"
ctl put "$top/c" 2 >/dev/null
now="$(revision)"
same "compaction says the revision" "$(ctl compaction "$now")" "compacted revision $now"
refused "get of a compacted revision is refused" "etcdserver: mvcc: required revision has been compacted" get "$top/c" --rev "$rev"
same "get of the compacted revision itself works" "$(ctl get "$top/c" --rev "$now" --print-value-only)" "2"
refused "a second compaction there is refused" "etcdserver: mvcc: required revision has been compacted" compaction "$now"
refused "a compaction of the future is refused" "etcdserver: mvcc: required revision is a future revision" compaction $((now + 1000))
ctl put "$top/c" 3 >/dev/null
now="$(revision)"
same "compaction --physical says the revision" "$(ctl compaction --physical "$now")" "compacted revision $now"
refused_watch="required revision has been compacted"
watch "$tmp/compacted" "$top/c" --rev "$rev"
deadline=$((SECONDS + 20))
until grep -q "$refused_watch" "$tmp/compacted" "$tmp/compacted.err" || [ $SECONDS -ge $deadline ]; do sleep 0.1; done
like "watch from a compacted revision is told so" "$(cat "$tmp/compacted" "$tmp/compacted.err")" "$refused_watch"

# --- endpoint, member, alarm, snapshot ------------------------------------------------------

same "endpoint health says so of each member" \
  "$(ctl endpoint health 2>&1 | cat - "$tmp/err" | grep -c 'is healthy: successfully committed proposal')" "$members"
same "endpoint status prints a line for each member" "$(ctl endpoint status | wc -l)" "$members"
same "endpoint status -w json names one leader" \
  "$(ctl endpoint status -w json | jq -r '[.[].Status.leader] | unique | length')" "1"
same "and one of the members is it" \
  "$(ctl endpoint status -w json | jq -r '[.[] | select(.Status.leader == .Status.header.member_id)] | length')" "1"
like "and a version of etcd 3" "$(ctl endpoint status -w json | jq -r '.[0].Status.version')" '^3\.[0-9]+\.[0-9]+'
same "and sizes and indexes" \
  "$(ctl endpoint status -w json | jq -r 'all(.[].Status; .dbSize > 0 and .raftIndex > 0 and .raftAppliedIndex > 0 and .raftTerm > 0)')" "true"
like "endpoint status -w table has a table" "$(ctl endpoint status -w table)" '^\| +ENDPOINT +\|'
same "endpoint hashkv prints a line for each member" "$(ctl endpoint hashkv | wc -l)" "$members"
same "member list prints started members" "$(ctl member list | grep -c ', started, ')" "$members"
same "member list -w json has their addresses" \
  "$(json '[.members[] | select((.clientURLs | length > 0) and (.peerURLs | length > 0))] | length' member list)" "$members"
like "member list -w table has a table" "$(ctl member list -w table)" '^\| +ID +\|'
same "endpoint health --cluster asks all members" \
  "$(at_one endpoint health --cluster 2>&1 | cat - "$tmp/err" | grep -c 'is healthy')" "$members"
same "alarm list is empty" "$(ctl alarm list)" ""
at_one snapshot save "$tmp/snapshot" >"$tmp/saved"
same "snapshot save leaves a file" "$([ -s "$tmp/snapshot" ] && echo saved)" "saved"

# --- lock and elect: client-side recipes ------------------------------------------------------

same "lock runs a command while it holds" "$(ctl lock "$top/lock" echo held)" "held"
: >"$tmp/elect"
ctl elect "$top/election" me >"$tmp/elect" &
leader=$!
watches+=("$leader")
await "$tmp/elect" 2
like "elect makes a leader" "$(cat "$tmp/elect")" '^me$'
kill "$leader" # it resigns, which is a write: let it be over
wait "$leader" 2>/dev/null

# --- across a restart ---------------------------------------------------------------------------

if [ -n "$restart" ]; then
  rev="$(json .header.revision put "$top/restart/a" before)"
  lease="$(ctl lease grant 300 | awk '{ print $2 }')"
  ctl put "$top/restart/leased" 1 --lease "$lease" >/dev/null
  watch "$tmp/restart" "$top/restart/" --prefix --rev "$rev"
  await "$tmp/restart" 6
  if eval "$restart"; then same "the servers restart" "" ""; else same "the servers restart" "they do not" ""; fi
  same "a value is there after a restart" "$(ctl get "$top/restart/a" --print-value-only)" "before"
  same "the revision is the same" "$(revision)" "$((rev + 1))"
  same "old revisions can be read" "$(ctl get "$top/restart/leased" --rev "$rev")" ""
  like "a lease is there with its key" "$(ctl lease timetolive "$lease" --keys)" "TTL\(300s\).*$top/restart/leased"
  ctl put "$top/restart/b" after >/dev/null
  # A watch of etcdctl asks for a leader, and etcd's contract is that it ends
  # with "no leader" if it comes to a member that is between two. It is then
  # taken up at the next revision, as its user would.
  deadline=$((SECONDS + 20))
  until [ "$(wc -l <"$tmp/restart")" -ge 9 ] || [ $SECONDS -ge $deadline ]; do
    if grep -q "no leader" "$tmp/restart.err"; then
      watch "$tmp/taken-up" "$top/restart/" --prefix --rev $((rev + $(wc -l <"$tmp/restart") / 3))
      await "$tmp/taken-up" $((9 - $(wc -l <"$tmp/restart")))
      cat "$tmp/taken-up" >>"$tmp/restart"
      break
    fi
    sleep 0.05
  done
  same "a watch goes on over a restart without a gap or a repeat" "$(cat "$tmp/restart")" \
    "$(lines PUT "$top/restart/a" before PUT "$top/restart/leased" 1 PUT "$top/restart/b" after)"
  watch "$tmp/again" "$top/restart/" --prefix --rev "$rev"
  await "$tmp/again" 9
  same "a new watch sees what was before the restart" "$(cat "$tmp/again")" "$(cat "$tmp/restart")"
  refused "what was compacted stays so" "etcdserver: mvcc: required revision has been compacted" get "$top/c" --rev "$((now - 1))"
  same "lease revoke works after a restart" "$(ctl lease revoke "$lease" && keys "$top/restart/" --prefix)" \
    "$(lines "lease $lease revoked" restart/a restart/b)"
fi

ctl del "$top" --prefix >/dev/null
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
