#!/bin/sh
# Compares kstore's command line with etcdctl's, command by command, against one server.
#
#   cli.sh ENDPOINT ETCDCTL KSTORE [EXPECTED]
#
# ENDPOINT is any server of the etcd v3 API whose data may be lost: keys under /cli/, the user
# root, the roles root and cli-*, and authentication are created and removed again. ETCDCTL is
# etcdctl 3.6, KSTORE the binary to test (run under the name etcdctl).
#
# What is compared: standard output, the errors on standard error, the exit code. Both programs
# meet the same state: either the command only reads (same), or the state is arranged anew before
# each (alike) and what then differs by nature is masked: revisions, lease ids, times.
#
# EXPECTED is a file with the command lines that differ on this server, one a line, and remarks
# after a "#". They are said and not held against kstore; one that does not differ any more is.
set -u

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
    echo "usage: $0 ENDPOINT ETCDCTL KSTORE [EXPECTED]" >&2
    exit 128
fi
ETCDCTL_ENDPOINTS=$1
export ETCDCTL_ENDPOINTS
unset ETCDCTL_API
original=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
ln -s "$(realpath "$3")" "$work/etcdctl"
ours=$work/etcdctl
sed '/^#/d; /^$/d' "${4:-/dev/null}" >"$work/expected" || exit 1
compared=0
different=0
expected=0
# Standard input of the command under test, if not empty.
input=

# Runs one program; leaves what it said and its exit code in the file $1.
observe() {
    result=$1
    shift
    printf '%s' "$input" | timeout "${limit:-20}" "$@" >"$work/out" 2>"$work/err"
    code=$?
    {
        # Not compared: how usage is worded, and log lines.
        sed -e "/^NAME:$/,\$d" "$work/out"
        echo "--- errors"
        sed -e "/^{\"level\"/d" -e "/^Run .* for usage\.$/d" -e "/^Usage:/,/^$/d" -e "/^Flags:/,/^$/d" \
            -e "/^$/d" "$work/err"
        echo "--- exit code $code"
    } >"$result"
}

# Masks what differs by nature between two runs.
mask() {
    sed -E \
        -e 's/"(revision|create_revision|mod_revision|version|raftIndex|raftAppliedIndex|hash_revision)":[0-9]+/"\1":N/g' \
        -e 's/^"((Prev)?(Create|Mod)?Revision|(Prev)?Version|RaftIndex|RaftAppliedIndex)" : [0-9]+/"\1" : N/' \
        -e 's/(^"ID" : |"ID":|"id":|"lease":|Lease" : )[1-9][0-9]*/\1LEASE/g' \
        -e 's/[0-9a-f]{16}/ID/g' \
        -e 's/remaining\([0-9]+s\)/remaining(Ns)/; s/"ttl":[1-9][0-9]*/"ttl":N/; s/^"TTL" : [1-9][0-9]*/"TTL" : N/' \
        -e '/^[|+]/{ s/[0-9.]+(µs|ms|s)/T/g; s/--+/--/g; s/  +/ /g; }' \
        -e 's/took = .*/took = T/; s/took [0-9.]+(ns|µs|ms|s)/took T/; s/"took":"[^"]*"/"took":"T"/' \
        -e 's/^"Took" : .*/"Took" : T/' "$1" >"$1.masked"
}

judge() {
    compared=$((compared + 1))
    if diff -u --label etcdctl --label kstore "$1" "$2" >"$work/diff"; then
        return
    fi
    if grep -Fxq -e "$3" "$work/expected"; then
        expected=$((expected + 1))
        echo "DIFFERENT, as expected: $3"
        grep -Fxv -e "$3" "$work/expected" >"$work/left"
        mv "$work/left" "$work/expected"
        return
    fi
    different=$((different + 1))
    echo "DIFFERENT: $3"
    sed 's/^/    /' "$work/diff"
}

# The command only reads: both see the same state and must say the same.
same() {
    observe "$work/a" "$original" "$@"
    observe "$work/b" "$ours" "$@"
    judge "$work/a" "$work/b" "$*"
}

# The command changes something: the state is arranged before each.
alike() {
    arrange
    observe "$work/a" "$original" "$@"
    arrange
    observe "$work/b" "$ours" "$@"
    mask "$work/a"
    mask "$work/b"
    judge "$work/a.masked" "$work/b.masked" "$*"
}

# As `alike`, for commands that have to be stopped.
alike_for_a_while() {
    limit=1
    alike "$@"
    limit=
}

arrange() {
    {
        "$original" del --prefix ''
        "$original" put /cli/a 1
        "$original" put /cli/b 'two words'
        "$original" put /cli/b '<2> & "more"'
        "$original" put /cli/c/1 'über'
        "$original" put /cli/c/2 "$(printf 'line one\nline\ttwo\001\377')"
        lease=$("$original" lease grant 600 | sed 's/lease \([0-9a-f]*\) .*/\1/')
        "$original" put /cli/leased v --lease="$lease"
    } >/dev/null 2>&1
}

current_revision() {
    "$original" get /cli/none -w fields | sed -n 's/^"Revision" : //p'
}

reading() {
    arrange
    for form in simple json fields table protobuf; do
        same get /cli/a -w "$form"
        same get /cli/ --prefix -w "$form"
        same get /cli/none "--write-out=$form"
        same member list -w "$form"
        same endpoint hashkv -w "$form"
        same alarm list -w "$form"
        same lease timetolive 1 -w "$form"
        same auth status -w "$form"
        same user list -w "$form"
        same role list -w "$form"
        same role get cli-none -w "$form"
    done
    for form in simple json fields table; do
        same --hex get /cli/ --prefix -w "$form"
        same --hex member list -w "$form"
        same endpoint status -w "$form"
        same endpoint status --cluster -w "$form"
    done
    same get /cli/a /cli/c
    same get /cli/a /cli/c /cli/d
    same get --from-key /cli/c
    same get '' --from-key --limit 2
    same get '' --prefix --keys-only
    same get /cli/ --prefix --limit 2 -w json
    same get /cli/ --prefix --count-only -w fields
    same get /cli/ --prefix --count-only
    same get /cli/ --prefix --keys-only -w json
    same get /cli/ --prefix --order descend
    same get /cli/ --prefix --order=DESCEND --sort-by=modify
    same get /cli/ --prefix --sort-by value --limit 3
    same get /cli/ --prefix --sort-by CREATE --order ASCEND -w json
    same get /cli/ --prefix --sort-by version
    same get /cli/ --prefix --print-value-only
    same get /cli/a --print-value-only -w json
    same get /cli/b --consistency s
    same get /cli/b --consistency=l --prefix=false
    same get /cli/b --rev "$(current_revision)"
    same get /cli/b --rev 999999999
    same get /cli/b --rev=-1
    revision=$(current_revision)
    same get /cli/ --prefix --min-mod-rev $((revision - 2)) -w json
    same get /cli/ --prefix --max-mod-rev $((revision - 2)) -w json
    same get /cli/ --prefix --min-create-rev $((revision - 1)) --max-create-rev "$revision"
    same g /cli/a
    same version
}

misuse() {
    arrange
    same get
    same get ''
    same get /cli/a --prefix --from-key
    same get /cli/a /cli/b --prefix
    same get /cli/a --keys-only --count-only
    same get /cli/a --order up
    same get /cli/a --sort-by size
    same get /cli/a --consistency z
    same get /cli/a --min-mod-rev 5 --max-mod-rev 3
    same get /cli/a --limit abc
    same get /cli/a --unknown
    same get -x /cli/a
    same get /cli/a --limit
    same get /cli/a --prefix=perhaps
    same -w yaml get /cli/a
    same --command-timeout=abc get /cli/a
    same nonsense
    same put
    same put /cli/a
    same put /cli/a v --ignore-value
    same put /cli/a v --lease xyz
    same put /cli/a v --lease 1234
    same put '' v
    same put /cli/none --ignore-value
    same del
    same del a b c
    same del ''
    same txn extra
    same lease grant
    same lease grant abc
    same lease grant 99999999999
    same lease revoke
    same lease revoke xyz
    same lease revoke 1234
    same lease timetolive xyz
    same lease keep-alive --once 1234
    same lease keep-alive 1234
    same compaction
    same compaction abc
    same compaction 999999999
    # The first one on a fresh etcd succeeds, and all others are refused.
    "$original" compaction 0 >/dev/null 2>&1
    same compaction 0
    same member remove
    same member remove xyz
    same member remove 1234
    same member add
    same member add name
    same member add name http://127.0.0.1:1
    same member update 1234
    same member promote 1234
    same move-leader
    same move-leader xyz
    same move-leader 1234
    same alarm list extra
    same snapshot save
    same watch
    same watch /cli/a /cli/b --prefix
    same lock
    same elect
    same elect name
    same elect name value -l
    same downgrade validate
    same downgrade validate x.y
    same user add
    same user delete cli-none
    same user grant-role one
    same role add
    same role grant-permission cli-none read
    same role grant-permission cli-none perhaps key
    same role revoke-permission cli-none
    same --cert nofile --key nofile get /cli/a
}

# etcdctl refuses to run with both the flag and the variable.
unreachable() {
    ETCDCTL_ENDPOINTS=127.0.0.1:1
    for form in simple json table; do
        same endpoint status --command-timeout 300ms -w "$form"
    done
    same get /cli/a --command-timeout 300ms
    same put /cli/a v --command-timeout 300ms
    same endpoint hashkv --command-timeout 300ms
    same endpoint health --command-timeout 300ms
    same member list --command-timeout=0.3s
    ETCDCTL_ENDPOINTS=$1
}

changing() {
    for form in simple json fields table; do
        alike put /cli/b new --prev-kv -w "$form"
        alike del /cli/ --prefix --prev-kv -w "$form"
        alike lease grant 100 -w "$form"
        alike endpoint health -w "$form"
    done
    alike put /cli/new v
    alike put -- /cli/new -v
    alike put /cli/leased --ignore-value --lease 0
    alike put /cli/leased w --ignore-lease --prev-kv -w json
    alike del /cli/a
    alike del /cli/a /cli/c --range -w json
    alike del --from-key /cli/c --prev-kv
    alike lease grant -- -5
    alike defrag
    input='from a pipe'
    alike put /cli/new
    input=
    with_lease revoke
    with_lease timetolive
    with_lease timetolive --keys
    with_lease timetolive --keys -w json
    with_lease timetolive --keys -w fields
    with_lease keep-alive --once
    with_lease keep-alive --once -w json
    with_lease keep-alive --once -w fields
}

# A lease command on the lease that was arranged.
with_lease() {
    verb=$1
    shift
    for program in "$original" "$ours"; do
        arrange
        observe "$work/$((index = 1 - ${index:-1}))" \
            "$program" lease "$verb" "$lease" "$@"
    done
    mask "$work/0"
    mask "$work/1"
    judge "$work/0.masked" "$work/1.masked" "lease $verb ID $*"
}

transactions() {
    input='mod("/cli/a") > "0"
val("/cli/b") = "<2> & \"more\""
ver("/cli/none") = "0"
create("/cli/a") != "0"
lease("/cli/a") = "0"

put /cli/new "a\tquoted \x41 value"
put /cli/b '"'single quoted'"' --prev-kv
get /cli/ --prefix --limit 2
del /cli/c/ --prefix --prev-kv

get /cli/a

'
    for form in simple json fields table; do
        alike txn -w "$form"
    done
    alike txn -i
    input='version("/cli/a") < "1"


get /cli/a
del /cli/none
get /cli/a --keys-only

'
    alike txn
    alike txn -w json
    for line in 'mod("b") >' 'mod("b" > "1"' 'mod("b") > "a"' 'xx("b") > "1"' 'nothing'; do
        input="$line

"
        alike txn
    done
    for line in 'foo bar' 'put' 'put /cli/a b --unknown' 'put /cli/a b --lease zz' 'get /cli/a --order up'; do
        input="
$line

"
        alike txn
    done
    input='
put /cli/a 1
put /cli/a 2


'
    alike txn
    input='mod("/cli/a") > "0"'
    alike txn
    input=
}

watching() {
    arrange
    revision=$(($(current_revision) - 6))
    limit=1
    for form in simple json fields table protobuf; do
        same watch /cli/ --prefix --rev "$revision" -w "$form"
    done
    same watch /cli/ --prefix --rev "$revision" --prev-kv -w json
    same watch /cli/b --rev "$revision" --prev-kv
    same watch /cli/a /cli/c --rev "$revision" --hex
    same watch /cli/b --rev "$revision" -- sh -c 'echo "$ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'
    same watch /cli/b --rev "$revision" -- false
    same watch /cli/b --rev 999999999
    same watch b a
    same watch /cli/a --
    ETCDCTL_WATCH_KEY=/cli/b
    export ETCDCTL_WATCH_KEY
    same watch --rev "$revision"
    same watch --rev "$revision" -- echo hello
    same watch /cli/a
    unset ETCDCTL_WATCH_KEY
    limit=
}

# Each program compacts at the revision of an arrangement of its own.
compact() {
    for program in "$original" "$ours"; do
        index=$((1 - ${index:-1}))
        arrange
        observe "$work/$index" "$program" compaction "$(current_revision)" "$@"
        sed 's/compacted revision .*/compacted revision N/' "$work/$index" >"$work/$index.masked"
    done
    judge "$work/0.masked" "$work/1.masked" "compaction N $*"
}

# Compacts, so that the history before cannot be watched or read any more.
compacting() {
    compact
    compact --physical
    compact -w json
    same get /cli/a --rev 2
    same watch /cli/a --rev 2
    same watch /cli/a --rev 2 -w json
    same watch /cli/a --rev 2 -w fields
    same compaction 1
}

holding() {
    alike lock /cli/lock true
    alike lock /cli/lock -- sh -c 'echo "$ETCD_LOCK_KEY" | sed "s/[0-9a-f]*$//"; exit 3'
    alike_for_a_while lock /cli/lock
    alike_for_a_while elect /cli/election value
}

saving() {
    limit=10
    alike snapshot save "$work/snapshot"
    limit=
    compared=$((compared + 1))
    digest=$(tail -c 32 "$work/snapshot" | od -An -v -tx1 | tr -d ' \n')
    if [ "$(head -c -32 "$work/snapshot" | sha256sum)" != "$digest  -" ]; then
        different=$((different + 1))
        echo "DIFFERENT: the digest at the end of a saved snapshot"
    fi
}

# Both programs play the same acts, one after the other, each from the start.
authentication() {
    for program in "$original" "$ours"; do
        index=$((1 - ${index:-1}))
        : >"$work/play-$index"
        while IFS= read -r act; do
            # shellcheck disable=SC2086 # The words of an act are meant to be split.
            observe "$work/act" "$program" $act
            mask "$work/act"
            { echo "\$ $act"; sed 's/authRevision":[0-9]*/authRevision":N/; s/^AuthRevision: .*/AuthRevision: N/' "$work/act.masked"; } >>"$work/play-$index"
        done <<ACTS
user add root:secret
user add cli-bob --new-user-password word
user add cli-nobody --no-password
user add root:secret
user list
user list -w json
user list -w fields
role add cli-role
role add cli-role -w json
role grant-permission cli-role readwrite /cli/ --prefix
role grant-permission cli-role read key
role grant-permission cli-role write b c -w json
role grant-permission cli-role read x --from-key
role get cli-role
role get cli-role -w json
role get cli-role -w fields
role get cli-role -w table
user grant-role cli-bob cli-role
user grant-role cli-bob cli-none
user get cli-bob
user get cli-bob --detail
user get cli-bob -w json
user get cli-bob -w fields
auth enable
auth status --user root:secret
get /cli/a
put /cli/a 1 --user cli-bob:word
get /cli/a --user cli-bob --password word
get other --user cli-bob:word
get other --user cli-bob:wrong
get other --user cli-none:word
endpoint health
endpoint health --user cli-bob:word
member list --user cli-bob:word -w json
user list --user cli-bob:word
role get root --user root:secret
role list --user root:secret
role revoke-permission cli-role key --user root:secret
role revoke-permission cli-role b c --user root:secret
role revoke-permission cli-role x --from-key --user root:secret
role revoke-permission cli-role /cli/ --prefix --user root:secret
role revoke-permission cli-role /cli/ --prefix --user root:secret
user revoke-role cli-bob cli-role --user root:secret
role delete cli-role --user root:secret
user delete cli-bob --user root:secret
user delete cli-nobody --user root:secret
auth disable --user root:secret
auth disable
role delete root
user delete root
ACTS
    done
    judge "$work/play-0" "$work/play-1" "authentication"
    compared=$((compared + 49))
}

reading
misuse
unreachable "$1"
changing
transactions
watching
compacting
holding
saving
authentication

if [ -s "$work/expected" ]; then
    sed 's/^/NO LONGER DIFFERENT, take it off the list: /' "$work/expected"
    different=$((different + $(wc -l <"$work/expected")))
fi
echo "$compared command lines compared, $different different, $expected different as expected"
[ "$different" -eq 0 ]
