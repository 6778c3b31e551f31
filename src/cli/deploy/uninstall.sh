# Takes the agent off the board. Before this text stand INSTALL_DIR, DATA_DIR and PURGE (no, yes).
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
SERVICE=fleetctl-agent
trouble() {
    printf 'fleetctl-trouble %s\n' "$*"
    exit 91
}
had=no
[ ! -e "$INSTALL_DIR/fleetctl" ] || had=yes
agent() { timeout 60 "$INSTALL_DIR/fleetctl" --local --socket "$DATA_DIR/agent.sock" "$@" 2>/dev/null; }
if [ "$PURGE" = yes ] && [ -x "$INSTALL_DIR/fleetctl" ] && [ -S "$DATA_DIR/agent.sock" ]; then
    # Ends what it runs, which takes as long as its workloads take; an agent that does not answer
    # leaves them.
    agent down >/dev/null
    ticks=60
    while agent ps -o json | grep -Eq '"state": *"(running|starting|stopping|healthy|unhealthy|pulling)"'; do
        ticks=$((ticks - 1))
        [ $ticks -gt 0 ] || break
        sleep 1
    done
    if [ $ticks -le 0 ] || ! agent ps >/dev/null; then
        echo "fleetctl-note its workloads could not be ended; look for them"
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
rm -f "$INSTALL_DIR/fleetctl" "$INSTALL_DIR"/.fleetctl-new.* || trouble write "$INSTALL_DIR/fleetctl"
if [ "$PURGE" = yes ]; then
    # What else is there belongs to another role of this machine.
    rm -rf /etc/fleetctl/agent.toml /etc/fleetctl/agent.env "$DATA_DIR" || trouble write "$DATA_DIR"
fi
rm -f /etc/fleetctl/join.token /etc/fleetctl/.changed
rmdir /etc/fleetctl "${DATA_DIR%/*}" 2>/dev/null
echo "fleetctl-had $had"
echo fleetctl-done
