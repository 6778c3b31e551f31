# Takes the agent off the board. Before this text stand INSTALL_DIR, DATA_DIR, FLEET_KEY and PURGE (no,
# yes).
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
SERVICE=fleetctl-agent
trouble() {
    printf 'fleetctl-trouble %s\n' "$*"
    exit 91
}
field() { tr -d ' \n' <"$DATA_DIR/fleet.json" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
if [ -f "$DATA_DIR/fleet.json" ] && [ "$(field fleet_key)" != "$FLEET_KEY" ]; then
    trouble "it belongs to another fleet, as node $(field node): nothing was removed"
fi
had=no
[ ! -e "$INSTALL_DIR/fleetctl" ] || had=yes
agent() { timeout 60 "$INSTALL_DIR/fleetctl" --local --socket "$DATA_DIR/agent.sock" "$@" 2>/dev/null; }
# Its instances, one a line, without the agent itself and what it says of trials.
instances() {
    agent ps -o json | tr -d ' \n' | sed 's/"trial":{[^}]*}//g; s/"workload":/\n&/g' |
        grep '^"workload"' | grep -v '^"workload":"fleetctl-agent"'
}
# The processes beside native workloads; each passes a request to end on to its workload.
shims() {
    for process in /proc/[0-9]*; do
        case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
        *" shim $DATA_DIR/instances/"*) printf '%s ' "${process#/proc/}" ;;
        esac
    done
}
if [ "$PURGE" = yes ] && [ -x "$INSTALL_DIR/fleetctl" ] && [ -S "$DATA_DIR/agent.sock" ]; then
    # Ends what it runs, which takes as long as its workloads take.
    agent down >/dev/null
    ticks=60
    while instances | grep -Eq '"state":"(running|starting|stopping|healthy|unhealthy|pulling)"'; do
        ticks=$((ticks - 1))
        [ $ticks -gt 0 ] || break
        sleep 1
    done
    if [ $ticks -le 0 ] || ! agent ps >/dev/null; then
        echo "fleetctl-note its containers could not be ended; look for them"
    fi
fi
if [ -d /run/systemd/system ]; then
    systemctl disable --quiet --now $SERVICE >/dev/null 2>&1
    rm -f /etc/systemd/system/$SERVICE.service /etc/default/$SERVICE ||
        trouble write /etc/systemd/system
    systemctl daemon-reload
    systemctl reset-failed $SERVICE >/dev/null 2>&1
elif [ -d /run/openrc ] && command -v rc-service >/dev/null; then
    rc-service $SERVICE stop >/dev/null 2>&1
    rc-update del $SERVICE >/dev/null 2>&1
    rm -f /etc/init.d/$SERVICE /etc/conf.d/$SERVICE || trouble write /etc/init.d
fi
if [ "$PURGE" = yes ]; then
    # Those of an agent that was not there any more, too: nobody else could ever end them.
    left=$(shims)
    # shellcheck disable=SC2086 # numbers
    [ -z "$left" ] || kill -TERM $left 2>/dev/null
    ticks=30
    while left=$(shims) && [ -n "$left" ] && [ $ticks -gt 0 ]; do
        ticks=$((ticks - 1))
        sleep 1
    done
    [ -z "$left" ] || trouble "its native workloads do not end (processes $left): end them, then run it again"
fi
# Another role of this machine may run from the same file.
if grep -qsF "$INSTALL_DIR/fleetctl" /etc/systemd/system/fleetctl-*.service /etc/init.d/fleetctl-*; then
    echo "fleetctl-note $INSTALL_DIR/fleetctl stays, since another service of the board uses it"
else
    rm -f "$INSTALL_DIR/fleetctl" || trouble write "$INSTALL_DIR/fleetctl"
fi
rm -f "$INSTALL_DIR"/.fleetctl-new.*
if [ "$PURGE" = yes ]; then
    # What else is there belongs to another role of this machine.
    rm -rf /etc/fleetctl/agent.toml /etc/fleetctl/agent.env "$DATA_DIR" || trouble write "$DATA_DIR"
fi
rm -f /etc/fleetctl/join.token /etc/fleetctl/.changed
rmdir /etc/fleetctl "${DATA_DIR%/*}" 2>/dev/null
echo "fleetctl-had $had"
echo fleetctl-done
