#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `./dev up`: a server, an agent and two workloads on this machine, under .run/. Each step is told
# in one line; what is already running is left alone, so a second call does no harm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BIN=${STEEPLE_BIN:-$PWD/build/bin}
RUN=$PWD/.run
DOMAIN=example.org
PORT=${STEEPLE_PORT:-18081}
BACKEND_PORT=${STEEPLE_BACKEND_PORT:-18443}
SERVER_SOCKET=$RUN/server.sock
AGENT_SOCKET=$RUN/agent.sock
export SPIFFE_ENDPOINT_SOCKET=unix://$AGENT_SOCKET

step() { printf '\033[1m%-28s\033[0m %s\n' "$1" "$2"; }
die() { printf 'up: %s\n' "$*" >&2; exit 1; }
server() { "$BIN/spire-server" "$@" -socketPath "$SERVER_SOCKET"; }

# alive NAME: is the process of .run/NAME.pid still the program we started?
alive() {
  [ -f "$RUN/$1.pid" ] && [ "$(readlink "/proc/$(cat "$RUN/$1.pid")/exe" 2>/dev/null | sed "s/ (deleted)$//")" = "$2" ]
}

# start NAME PROGRAM ARGUMENT...: in the background, log and pid under .run/
start() {
  local name=$1 program=$2; shift 2
  setsid "$program" "$@" >>"$RUN/$name.log" 2>&1 </dev/null &
  echo $! >"$RUN/$name.pid"
}

# eventually SECONDS COMMAND...: retries until it works
eventually() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.05
  done
}

write_config() {
  mkdir -p "$RUN/server" "$RUN/agent" "$RUN/bin"
  [ ${#AGENT_SOCKET} -lt 107 ] || die "the path $AGENT_SOCKET is too long for a Unix socket"
  cat >"$RUN/server.conf" <<CONF
server {
  bind_address = "127.0.0.1"
  bind_port = $PORT
  socket_path = "$SERVER_SOCKET"
  trust_domain = "$DOMAIN"
  data_dir = "$RUN/server"
}
plugins {
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "$RUN/server/datastore.sqlite3"
    }
  }
  KeyManager "disk" { plugin_data { keys_path = "$RUN/server/keys.json" } }
  NodeAttestor "join_token" { plugin_data {} }
}
CONF
  cat >"$RUN/agent.conf" <<CONF
agent {
  data_dir = "$RUN/agent"
  server_address = "127.0.0.1"
  server_port = $PORT
  socket_path = "$AGENT_SOCKET"
  trust_bundle_path = "$RUN/bundle.pem"
  trust_domain = "$DOMAIN"
}
plugins {
  KeyManager "disk" { plugin_data { directory = "$RUN/agent" } }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
CONF
}

start_server() {
  if alive server "$BIN/spire-server"; then
    step "server is running" "pid $(cat "$RUN/server.pid")"
    return
  fi
  start server "$BIN/spire-server" run -config "$RUN/server.conf"
  eventually 10 server healthcheck || die "the server did not become healthy; see $RUN/server.log"
  step "server started" "trust domain $DOMAIN, 127.0.0.1:$PORT, pid $(cat "$RUN/server.pid")"
}

start_agent() {
  if alive agent "$BIN/spire-agent"; then
    step "agent is running" "pid $(cat "$RUN/agent.pid")"
    return
  fi
  server bundle show >"$RUN/bundle.pem"
  local arguments=()
  if [ ! -f "$RUN/agent/agent-data.json" ]; then
    arguments=(-joinToken "$(server token generate -spiffeID "spiffe://$DOMAIN/node" | sed -n 's/^Token: //p')")
  fi
  start agent "$BIN/spire-agent" run -config "$RUN/agent.conf" "${arguments[@]}"
  eventually 10 "$BIN/spire-agent" healthcheck -socketPath "$AGENT_SOCKET" ||
    die "the agent did not become healthy; see $RUN/agent.log"
  step "agent attested" "by join token, Workload API at $AGENT_SOCKET, pid $(cat "$RUN/agent.pid")"
}

# register NAME: a workload that is known by the path of its program
register() {
  ln -f "$BIN/spiffe-workload" "$RUN/bin/$1" 2>/dev/null || cp -f "$BIN/spiffe-workload" "$RUN/bin/$1"
  if [ "$(server entry count -spiffeID "spiffe://$DOMAIN/$1")" = "0 registration entries" ]; then
    server entry create -parentID "spiffe://$DOMAIN/node" -spiffeID "spiffe://$DOMAIN/$1" \
      -selector "unix:path:$RUN/bin/$1" >/dev/null
  fi
  step "workload registered" "spiffe://$DOMAIN/$1 is $RUN/bin/$1"
}

show_identities() {
  eventually 10 "$RUN/bin/frontend" get-svid || die "the frontend got no identity"
  step "frontend's identity" "$("$RUN/bin/frontend" get-svid | sed -n 's/^SPIFFE ID: //p; s/^SVID Valid Until: /until /p' | paste -sd' ')"
  step "frontend's token" "$("$RUN/bin/frontend" get-jwt -audience backend | sed -n 's/^Claims: //p')"
}

show_mtls() {
  if ! alive backend "$RUN/bin/backend"; then
    eventually 10 "$RUN/bin/backend" get-svid || die "the backend got no identity"
    start backend "$RUN/bin/backend" serve -address "127.0.0.1:$BACKEND_PORT" -allow "spiffe://$DOMAIN/frontend"
  fi
  local call=(call -address "127.0.0.1:$BACKEND_PORT" -expect "spiffe://$DOMAIN/backend")
  eventually 10 "$RUN/bin/frontend" "${call[@]}" || die "the frontend could not call the backend; see $RUN/backend.log"
  step "frontend calls backend" "$("$RUN/bin/frontend" "${call[@]}")"
  eventually 10 "$RUN/bin/stranger" get-svid || die "the stranger got no identity"
  if refusal=$("$RUN/bin/stranger" "${call[@]}" 2>&1); then
    die "the backend answered a stranger: $refusal"
  fi
  step "stranger calls backend" "refused: $refusal"
}

write_config
start_server
start_agent
for name in frontend backend stranger; do register "$name"; done
show_identities
show_mtls
cat <<TEXT

Both go on running. To look around:
  export SPIFFE_ENDPOINT_SOCKET=$SPIFFE_ENDPOINT_SOCKET
  build/bin/spire-server entry show -socketPath .run/server.sock
  build/bin/spire-server agent list -socketPath .run/server.sock
  .run/bin/frontend get-svid
  tail -f .run/server.log .run/agent.log
  ./dev down
TEXT
