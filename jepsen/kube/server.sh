#!/usr/bin/env bash
# Starts and stops a control plane of kstore's on this host.
#
#   server.sh start DIR KSTORE [FLAG...]   `kstore up` with its files under DIR; prints the path of its kubeconfig
#   server.sh kill DIR                     kill -9
#   server.sh resume DIR                   start it again with its data, ports and flags
#   server.sh stop DIR                     SIGTERM, and wait
#
# DIR has `command` (one word a line), `pid`, `log`, `data` and `kubeconfig`, so
# that each call can be a process of its own. It is ended by its pid only.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ready_seconds=60
stop_seconds=15

fail() { echo "server: $*" >&2; exit 1; }
port() { "$here/../compat/servers.sh" port "$@"; }
running() { kill -0 "$1" 2>/dev/null && [ "$(sed 's/.*) //' "/proc/$1/stat" | cut -c1)" != Z ]; }

launch() { # launch DIR: and wait until it is ready
  local dir="$1" words deadline=$((SECONDS + ready_seconds)) url
  mapfile -t words <"$dir/command"
  setsid "${words[@]}" >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  url="$(cat "$dir/url")"
  until [ "$(curl -sk --max-time 5 "$url/readyz" || true)" = ok ] && [ -s "$dir/kubeconfig" ]; do
    running "$(cat "$dir/pid")" || { tail -n 20 "$dir/log" >&2; return 1; }
    [ $SECONDS -lt $deadline ] || { tail -n 20 "$dir/log" >&2; echo "server: not ready" >&2; return 1; }
    sleep 0.05
  done
}

start() { # start DIR KSTORE [FLAG...]
  local dir kstore secure client peer try
  mkdir -p "$1"
  dir="$(realpath -- "$1")"
  kstore="$(realpath -- "$(command -v -- "$2")")" || fail "$2 is no program"
  shift 2
  # A port can be taken between the look and the start: begin again with others.
  for try in 1 2 3; do
    secure="$(port)"; client="$(port "$secure")"; peer="$(port "$secure" "$client")"
    rm -rf "$dir/data" "$dir/kubeconfig"; : >"$dir/log"
    echo "https://127.0.0.1:$secure" >"$dir/url"
    {
      printf '%s\n' "$kstore" up --data-dir "$dir/data" --secure-port "$secure" --kubeconfig "$dir/kubeconfig"
      help="$("$kstore" up --help 2>&1 || true)"
      case "$help" in *--listen-client-urls*) printf '%s\n' --listen-client-urls "http://127.0.0.1:$client" ;; esac
      case "$help" in *--listen-peer-urls*) printf '%s\n' --listen-peer-urls "http://127.0.0.1:$peer" ;; esac
      [ $# -eq 0 ] || printf '%s\n' "$@"
    } >"$dir/command"
    if launch "$dir"; then echo "$dir/kubeconfig"; return; fi
    end "$dir" KILL
    grep -qi "address already in use" "$dir/log" || break
  done
  fail "$kstore did not start (try $try), see $dir/log"
}

end() { # end DIR SIGNAL
  local pid deadline=$((SECONDS + stop_seconds))
  [ -f "$1/pid" ] || return 0
  pid="$(cat "$1/pid")"
  kill "-$2" "$pid" 2>/dev/null || true
  while running "$pid"; do
    [ $SECONDS -lt $deadline ] || { kill -9 "$pid" 2>/dev/null || true; echo "server: had to be killed" >&2; break; }
    sleep 0.05
  done
  rm -f "$1/pid"
}

command="${1:-help}"
shift || true
case "$command" in
  start) start "$@" ;;
  kill) end "$1" KILL ;;
  resume) launch "$1" ;;
  stop) end "$1" TERM ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
