#!/usr/bin/env bash
# A fleet of one machine, for trying it out.
#
#   tests/up.sh up     start it, run examples/hello.toml, wait for Ctrl-C
#   tests/up.sh down   remove every workload, so that their processes and containers end
#
# Everything is kept in .data, and found there again the next time. The ports are the defaults;
# choose others with FLEETCTL_API_LISTEN and FLEETCTL_MQTT_LISTEN.
set -euo pipefail
cd "$(dirname "$0")/.."

FLEETCTL=${FLEETCTL:-$PWD/target/release/fleetctl}
DATA=$PWD/.data
LOG=$DATA/controller.log
API=${FLEETCTL_API_LISTEN:-127.0.0.1:7070}
# What a person's shell says about other fleets is not meant here.
unset FLEETCTL_TOKEN FLEETCTL_CA FLEETCTL_CONTEXT FLEETCTL_CONFIG
export FLEETCTL_URL=http://$API
controller=

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# wait_for SECONDS COMMAND…: until it succeeds, or the controller has ended.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || return 1
        kill -0 "$controller" 2>/dev/null || return 1
        sleep 0.1
    done
}

taken() { (exec 3<>"/dev/tcp/${API%:*}/${API##*:}") 2>/dev/null; }

# No curl is needed for this.
ready() (
    exec 3<>"/dev/tcp/${API%:*}/${API##*:}" || return 1
    printf 'GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$API" >&3
    read -r -t 2 line <&3 && [[ $line == *" 200 "* ]]
)

local_node_is_online() { "$FLEETCTL" node ls -o json | grep -q '"state": "online"'; }

start() {
    [[ $API == 127.0.0.1:* ]] || fail "FLEETCTL_API_LISTEN must be 127.0.0.1:<port> here, not $API"
    [[ -x $FLEETCTL ]] || fail "$FLEETCTL is not there; run \`make up\`, which builds it"
    if taken; then
        fail "$API is in use, perhaps by another \`make up\`. Stop that one, or choose another port:
       FLEETCTL_API_LISTEN=127.0.0.1:7071 make up"
    fi
    mkdir -p "$DATA" && chmod 700 "$DATA"
    "$FLEETCTL" controller --embed-broker --with-agent --data-dir "$DATA" --api-listen "$API" \
        >"$LOG" 2>&1 </dev/null &
    controller=$!
    trap stop EXIT
    trap 'exit 0' INT TERM HUP
    if ! wait_for 30 ready; then
        tail -n 5 "$LOG" >&2
        fail "the controller did not start; its log is $LOG"
    fi
    FLEETCTL_TOKEN=$(<"$DATA/admin.token")
    export FLEETCTL_TOKEN
    wait_for 30 local_node_is_online || fail "the local node does not come online; see $LOG"
}

# Asks the controller to end, and waits until it has.
stop() {
    # A second Ctrl-C must not leave it half stopped.
    trap '' INT TERM HUP
    kill "$controller" 2>/dev/null || true
    wait "$controller" 2>/dev/null || true
}

farewell() {
    stop
    say
    # shellcheck disable=SC2016 # backquotes for the reader, not for the shell
    say 'The controller and the agent have stopped. Workloads go on; `make up` finds them again.'
    say 'To stop them too: make down'
}

up() {
    start
    trap farewell EXIT
    "$FLEETCTL" apply -f examples/hello.toml -y --wait
    say
    "$FLEETCTL" ps
    cat <<TEXT

API          $FLEETCTL_URL      log: $LOG
Dashboard    $FLEETCTL_URL/     sign in with the token in $DATA/admin.token
Use the CLI in another terminal:

  export PATH="${FLEETCTL%/*}:\$PATH" FLEETCTL_URL=$FLEETCTL_URL FLEETCTL_TOKEN=\$(cat $DATA/admin.token)
  fleetctl node ls
  fleetctl logs hello -f

Join another machine: copy the binary there, and paste (valid for 24 hours):

  fleetctl agent --join $("$FLEETCTL" token create --kind join --ttl 24h --name 'make up')

Ctrl-C stops the controller and the local agent; workloads go on.
TEXT
    wait "$controller" || { tail -n 5 "$LOG" >&2; fail "the controller has ended; its log is $LOG"; }
}

down() {
    [[ -e $DATA/admin.token ]] || { say "nothing was started here"; return; }
    local names
    if ready 2>/dev/null; then
        FLEETCTL_TOKEN=$(<"$DATA/admin.token")
        export FLEETCTL_TOKEN
    else
        # Only an agent can end what it started, so there is one for a moment.
        start
    fi
    mapfile -t names < <("$FLEETCTL" workload ls | awk 'NR > 1 { print $1 }')
    if ((${#names[@]})); then
        "$FLEETCTL" rm "${names[@]}" --wait
        say "removed: ${names[*]}"
    else
        say "no workload is there"
    fi
}

case ${1-} in
    up) up ;;
    down) down ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
