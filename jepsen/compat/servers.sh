#!/usr/bin/env bash
# Starts, restarts and stops a cluster of one member or more on this host, for
# any server with etcd's flags: `etcd` itself, or `kstore server`.
#
#   servers.sh start DIR BINARY [COUNT] [FLAG...]   one member unless COUNT says more; prints their endpoints
#   servers.sh endpoints DIR                        host:port of each member, with commas
#   servers.sh restart DIR [N]                      SIGTERM, then start again: member N, or all one after another
#   servers.sh kill DIR N                           kill -9 of member N
#   servers.sh resume DIR N                         start member N again
#   servers.sh launch DIR N                         start member N again and do not wait for it
#   servers.sh stop DIR                             ends all members
#   servers.sh port [TAKEN...]                      prints a port that nobody listens on
#   servers.sh takes BINARY FLAG                    succeeds if the server's help names the flag
#
# In a FLAG of `start`, {m} stands for the name of the member, m1, m2, ..., and {n}
# for its number. With SCHEME=https in the environment the URLs of clients and peers are that; the
# files of TLS are flags.
#
# DIR has a folder m1, m2, ... per member: `command` (one word a line), `pid`,
# `log` and `data`. All that is known about the cluster is in these files, so
# that each call can be a process of its own. Processes are ended by their pid only.
set -euo pipefail

scheme="${SCHEME:-http}"
ready_line="ready to serve client requests"
ready_seconds=60
stop_seconds=15

fail() { echo "servers: $*" >&2; exit 1; }

# words BINARY: the words that start a server with it.
words() {
  local path
  path="$(realpath -- "$(command -v -- "$1")")" || fail "$1 is no program"
  echo "$path"
  case "$(basename -- "$1")" in etcd*) ;; *) echo server ;; esac
}

# free_port TAKEN...: a port below the range that the kernel gives to clients,
# that nobody listens on and that is not among those taken.
free_port() {
  local port
  while :; do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
    case " $* " in *" $port "*) continue ;; esac
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# alive PID: it runs, and is not merely waiting to be reaped. A process of many
# threads can look reaped while some of them still end and hold its files: it is
# gone when no thread but the first is left.
alive() {
  local state
  state="$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" || return 1
  [ -n "$state" ] || return 1
  [ "$state" != Z ] || [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -gt 1 ]
}

launch() { # launch MEMBER-DIR
  local words
  mapfile -t words <"$1/command"
  setsid "${words[@]}" >>"$1/log" 2>&1 </dev/null &
  echo $! >"$1/pid"
  # Only lines that this start has written can say that it is ready.
  wc -l <"$1/log" >"$1/log.start"
}

await() { # await MEMBER-DIR: until its log says that it is ready
  local deadline=$((SECONDS + ready_seconds))
  until tail -n "+$(($(cat "$1/log.start") + 1))" "$1/log" | grep -q "$ready_line"; do
    alive "$(cat "$1/pid")" || { tail -n 20 "$1/log" >&2; return 1; }
    [ $SECONDS -lt $deadline ] || { tail -n 20 "$1/log" >&2; echo "servers: $1 is not ready" >&2; return 1; }
    sleep 0.05
  done
}

end() { # end MEMBER-DIR SIGNAL
  local pid deadline=$((SECONDS + stop_seconds))
  [ -f "$1/pid" ] || return 0
  pid="$(cat "$1/pid")"
  kill "-$2" "$pid" 2>/dev/null || true
  while alive "$pid"; do
    [ $SECONDS -lt $deadline ] || { kill -9 "$pid" 2>/dev/null || true; echo "servers: $1 had to be killed" >&2; break; }
    sleep 0.05
  done
  rm -f "$1/pid"
}

each() { find "$1" -mindepth 1 -maxdepth 1 -type d -name 'm[0-9]*' | sort; }

stop() { local m; for m in $(each "$1"); do end "$m" TERM; done; }

start_once() { # start_once DIR BINARY COUNT FLAG...
  local dir="$1" binary="$2" count="$3" n m ports=() cluster="" endpoints=""
  shift 3
  for n in $(seq "$count"); do
    ports+=("$(free_port "${ports[@]}")"); ports+=("$(free_port "${ports[@]}")")
    cluster+="${cluster:+,}m$n=$scheme://127.0.0.1:${ports[2 * n - 1]}"
    endpoints+="${endpoints:+,}127.0.0.1:${ports[2 * n - 2]}"
  done
  for n in $(seq "$count"); do
    m="$dir/m$n"
    local flags=("${@//\{m\}/m$n}")
    rm -rf "$m"; mkdir -p "$m"; : >"$m/log"
    local client="$scheme://127.0.0.1:${ports[2 * n - 2]}" peer="$scheme://127.0.0.1:${ports[2 * n - 1]}"
    words "$binary" >"$m/command"
    printf '%s\n' --name "m$n" --data-dir "$m/data" \
      --listen-client-urls "$client" --advertise-client-urls "$client" \
      --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
      --initial-cluster "$cluster" --initial-cluster-token "$(basename -- "$dir")" \
      --initial-cluster-state new "${flags[@]//\{n\}/$n}" >>"$m/command"
    launch "$m"
  done
  echo "$endpoints" >"$dir/endpoints"
  for m in $(each "$dir"); do await "$m" || return 1; done
}

start() { # start DIR BINARY [COUNT] [FLAG...]
  local dir="$1" binary="$2" count="${3:-1}" try
  shift; shift; [ $# -eq 0 ] || shift
  mkdir -p "$dir"
  dir="$(realpath -- "$dir")"
  # A port can be taken between the look and the start: begin again with others.
  for try in 1 2 3; do
    if start_once "$dir" "$binary" "$count" "$@"; then cat "$dir/endpoints"; return; fi
    stop "$dir"
    grep -qi "address already in use" "$dir"/m*/log || break
  done
  fail "$binary did not start, see $dir/m*/log"
}

restart_member() { end "$1" TERM; launch "$1"; await "$1"; }

takes() { # takes BINARY FLAG
  local words help
  mapfile -t words < <(words "$1")
  help="$("${words[@]}" --help 2>&1 || true)"
  [[ "$help" == *"$2"* ]]
}

command="${1:-help}"
shift || true
case "$command" in
  start) start "$@" ;;
  endpoints) cat "$1/endpoints" ;;
  restart) for m in $(if [ -n "${2:-}" ]; then echo "$1/m$2"; else each "$1"; fi); do restart_member "$m"; done ;;
  kill) end "$1/m$2" KILL ;;
  resume) launch "$1/m$2"; await "$1/m$2" ;;
  launch) launch "$1/m$2" ;;
  stop) stop "$1" ;;
  port) free_port "$@" ;;
  takes) takes "$@" ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
