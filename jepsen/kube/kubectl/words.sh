# The words in which the checks of kubectl are written. Sourced by kubectl.sh.
#
#   group NAME                        the checks that follow, in a namespace of their own ($ns)
#   prints  CASE TEXT -- ARG...       kubectl succeeds and its standard output is TEXT
#   shows   CASE REGEX... -- ARG...   ... and some line of its output matches each REGEX
#   hides   CASE REGEX -- ARG...      ... and no line does
#   picks   CASE FILTER TEXT -- ARG...  ... and its JSON through the jq FILTER is TEXT
#   warns   CASE TEXT -- ARG...       ... and its standard error is TEXT
#   fails   CASE TEXT -- ARG...       kubectl fails and its standard error is TEXT
#   rejects CASE REGEX -- ARG...      ... or some line of it matches REGEX
#   ends    CASE CODE -- ARG...       it ends with this code
#   becomes CASE TEXT -- ARG...       its standard output becomes TEXT within a minute
#   same    CASE GOT TEXT             for what was learnt by other means
#   quietly ARG...                    kubectl as a step, not a check; a failure is told
#   skip    CASE WHY                  a check that does not fit this server or release
#   kstore, upstream                  succeed if that is the server
#   minor                             28 of a kubectl 1.28
#
# What is masked: namespace NS, uids UID, times TIME, ages AGE, resource
# versions RV; runs of blanks become one. Standard input goes to kubectl.

tmp="$(mktemp -d "${TMPDIR:-/tmp}/kubectl-checks.XXXXXX")"
run="$$-$RANDOM"
ns=""
name_of_group=""
# For the limit of one command; some would wait for ever.
limit=90
passed=0
failed=0
skipped=0
missing=0
namespaces=()
watches=()
[ -z "${RESULTS:-}" ] || : >"$RESULTS"
unset KUBECONFIG
# What kubectl asks beside the checks (its own settings) must not change them.
export KUBECTL_KUBERC=false
exec </dev/null

finish() {
  local pid
  {
    for pid in "${watches[@]}"; do kill "$pid"; done
    wait
    [ ${#namespaces[@]} -eq 0 ] || kube delete namespace "${namespaces[@]}" --wait=false --ignore-not-found
  } >/dev/null 2>&1
  rm -rf "$tmp"
}
trap finish EXIT

kstore() { [ "$server" = kstore ]; }
upstream() { [ "$server" != kstore ]; }

# kube ARG...: kubectl in no namespace of ours; k ARG...: in the group's.
kube() { timeout "$limit" "$kubectl" --kubeconfig "$kubeconfig" --cache-dir "$tmp/cache" "$@"; }
k() { kube -n "$ns" "$@"; }

minor="$("$kubectl" version --client -o json 2>/dev/null | jq -r '.clientVersion.minor' | tr -dc 0-9)"

group() {
  name_of_group="$1"
  ns="kt-$1-$run"
  namespaces+=("$ns")
  kube create namespace "$ns" >/dev/null || { echo "the namespace of $1 could not be made" >&2; exit 1; }
  # Pods can be made when the account they run under is there.
  local n
  for n in $(seq 200); do k get serviceaccount default >/dev/null 2>&1 && return; sleep 0.1; done
  echo "no default serviceaccount in $ns (try $n)" >&2
}

mask() {
  sed -E \
    -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UID/g' \
    -e "s/$ns/NS/g" \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/TIME/g' \
    -e 's/(resourceVersion"?: *)"[0-9]+"/\1"RV"/g' \
    -e 's/(^| )([0-9]+s|[0-9]+m([0-9]+s)?)( ago)?( |$)/\1AGE\4\5/g' \
    -e 's/(^| )([0-9]+s|[0-9]+m([0-9]+s)?)( ago)?( |$)/\1AGE\4\5/g' \
    -e 's/(^| )<invalid>( |$)/\1AGE\2/g' \
    -e 's/[ \t]+/ /g' -e 's/ $//'
}

# What kstore is known not to do yet: kstore.missing has a line for each case, with the reason.
is_missing() { kstore && grep -qF "$1  #" "$here/kubectl/kstore.missing"; }

verdict() { # verdict CASE pass|fail|skip [GOT WANT]
  local what="$name_of_group: $1"
  if [ "$2" != skip ] && is_missing "$what"; then
    case "$2" in
      fail) missing=$((missing + 1)); echo "still missing  $what"; return ;;
      pass) set -- "$1" fail "it works by now" "a line less in kstore.missing" ;;
    esac
  fi
  case "$2" in
    pass) passed=$((passed + 1)); echo "ok    $what" ;;
    skip) skipped=$((skipped + 1)); echo "skip  $what ($3)" ;;
    fail) failed=$((failed + 1)); printf 'FAIL  %s\n--- got\n%s\n--- want\n%s\n---\n' "$what" "$3" "$4" ;;
  esac
  [ -z "${RESULTS:-}" ] || echo "$what: $2" >>"$RESULTS"
}

skip() { verdict "$1" skip "$2"; }

same() { if [ "$2" = "$3" ]; then verdict "$1" pass; else verdict "$1" fail "$2" "$3"; fi; }

# call ARG...: one kubectl; leaves $tmp/out, $tmp/err (masked) and $code.
call() {
  k "$@" >"$tmp/raw" 2>"$tmp/rawerr"
  code=$?
  mask <"$tmp/raw" >"$tmp/out"
  # Discovery of a group that is just coming or going is told, and passes.
  mask <"$tmp/rawerr" | grep -v 'memcache.go' >"$tmp/err" || true
}

# succeeded CASE: or the verdict is that it did not.
succeeded() { [ "$code" -eq 0 ] || { verdict "$1" fail "code $code: $(cat "$tmp/err" "$tmp/out")" "success"; false; }; }

prints() {
  local name="$1" want="$2"; shift 3
  call "$@"
  succeeded "$name" && same "$name" "$(cat "$tmp/out")" "$want"
}

shows() {
  local name="$1" regexes=() regex; shift
  while [ "$1" != -- ]; do regexes+=("$1"); shift; done
  shift
  call "$@"
  succeeded "$name" || return
  for regex in "${regexes[@]}"; do
    grep -Eq -- "$regex" "$tmp/out" || { verdict "$name" fail "$(cat "$tmp/out")" "a line like $regex"; return; }
  done
  verdict "$name" pass
}

hides() {
  local name="$1" regex="$2"; shift 3
  call "$@"
  succeeded "$name" || return
  if grep -Eq -- "$regex" "$tmp/out"; then verdict "$name" fail "$(cat "$tmp/out")" "no line like $regex"; else verdict "$name" pass; fi
}

picks() {
  local name="$1" filter="$2" want="$3"; shift 4
  case " $* " in *" --raw "*) call "$@" ;; *) call "$@" -o json ;; esac
  succeeded "$name" && same "$name" "$(jq -r "$filter" <"$tmp/raw" 2>&1 | mask)" "$want"
}

warns() {
  local name="$1" want="$2"; shift 3
  call "$@"
  succeeded "$name" && same "$name" "$(cat "$tmp/err")" "$want"
}

fails() {
  local name="$1" want="$2"; shift 3
  call "$@"
  if [ "$code" -eq 0 ]; then verdict "$name" fail "success: $(cat "$tmp/out")" "$want"; else same "$name" "$(cat "$tmp/err")" "$want"; fi
}

rejects() {
  local name="$1" regex="$2"; shift 3
  call "$@"
  if [ "$code" -ne 0 ] && grep -Eq -- "$regex" "$tmp/err"; then verdict "$name" pass; return; fi
  verdict "$name" fail "code $code: $(cat "$tmp/err" "$tmp/out")" "a failure with a line like $regex"
}

ends() {
  local name="$1" want="$2"; shift 3
  call "$@"
  if [ "$code" -eq "$want" ]; then verdict "$name" pass; else verdict "$name" fail "code $code: $(cat "$tmp/err" "$tmp/out")" "code $want"; fi
}

becomes() {
  local name="$1" want="$2" deadline=$((SECONDS + 60)); shift 3
  while :; do
    call "$@"
    [ "$code" -ne 0 ] || [ "$(cat "$tmp/out")" != "$want" ] || { verdict "$name" pass; return; }
    [ $SECONDS -lt $deadline ] || { verdict "$name" fail "$(cat "$tmp/out" "$tmp/err")" "$want"; return; }
    sleep 0.1
  done
}

quietly() { k "$@" >/dev/null 2>"$tmp/rawerr" || { echo "      step failed: kubectl $*: $(cat "$tmp/rawerr")"; false; }; }

# watching FILE ARG...: a kubectl that goes on in the background, output to FILE.
watching() {
  local file="$1"; shift
  : >"$file" # now, not when the process in the background gets there
  "$kubectl" --kubeconfig "$kubeconfig" --cache-dir "$tmp/cache" -n "$ns" "$@" >"$file" 2>"$file.err" &
  watches+=($!)
}

# lines_come FILE N: until the file has N lines, or half a minute has passed.
lines_come() {
  local n
  for n in $(seq 300); do [ "$(wc -l <"$1")" -lt "$2" ] || return 0; sleep 0.1; done
  echo "      $1 has $(wc -l <"$1") lines, not $2, after $n tries" >&2
}

# stop_watch: ends the watch begun last.
stop_watch() {
  local pid="${watches[-1]}"
  kill "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  unset 'watches[-1]'
}

# editor FILE SED...: a program that edits as sed says, for `kubectl edit`.
editor() {
  local file="$1"; shift
  { echo '#!/bin/sh'; printf 'exec sed -i'; printf " -e '%s'" "$@"; echo ' "$1"'; } >"$file"
  chmod +x "$file"
}
