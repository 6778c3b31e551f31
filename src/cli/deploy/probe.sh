# What the board is and has. Reads only. INSTALL_DIR and DATA_DIR stand before this text.
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
say() { printf '%s %s\n' "$1" "$2"; }
options_of() {
    while read -r _ at _ options _; do
        if [ "$at" = "$1" ]; then printf '%s\n' "$options"; fi
    done </proc/mounts | tail -n 1
}
place() {
    name=$1 at=$2
    while [ ! -d "$at" ]; do
        at=${at%/*}
        [ -n "$at" ] || at=/
    done
    # shellcheck disable=SC2046 # its words: device, size, used, free, share, mount
    set -- $(df -Pk "$at" 2>/dev/null | tail -n 1)
    say "$name.free_kib" "${4:-}"
    say "$name.mounted" "${6:-}"
    say "$name.options" "$(options_of "${6:-/}")"
}
sum() { if [ -f "$2" ]; then say "sha256.$1" "$(sha256sum <"$2" | cut -d ' ' -f 1)"; fi; }
field() { tr -d ' \n' <"$DATA_DIR/fleet.json" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

echo "fleetctl-probe 1"
say machine "$(uname -m)"
say elf "$(od -An -tx1 -N 20 /bin/sh 2>/dev/null | tr -d '\n')"
say time "$(date +%s)"
place install "$INSTALL_DIR"
place etc /etc
place data "$DATA_DIR"
sum binary "$INSTALL_DIR/fleetctl"
if [ -f "$INSTALL_DIR/fleetctl" ]; then say binary_bytes "$(wc -c <"$INSTALL_DIR/fleetctl" | tr -d ' ')"; fi
sum config /etc/fleetctl/agent.toml
sum env /etc/fleetctl/agent.env
if [ -d /run/systemd/system ]; then
    say init systemd
    sum unit /etc/systemd/system/fleetctl-agent.service
    sum settings /etc/default/fleetctl-agent
    if systemctl is-active --quiet fleetctl-agent.service 2>/dev/null; then say active yes; fi
    if systemctl is-enabled --quiet fleetctl-agent.service 2>/dev/null; then say enabled yes; fi
elif [ -d /run/openrc ] && command -v rc-service >/dev/null; then
    say init openrc
    sum unit /etc/init.d/fleetctl-agent
    sum settings /etc/conf.d/fleetctl-agent
    if rc-service fleetctl-agent status >/dev/null 2>&1; then say active yes; fi
    if [ -e /etc/runlevels/default/fleetctl-agent ]; then say enabled yes; fi
fi
if [ -f "$DATA_DIR/fleet.json" ]; then
    say fleet_key "$(field fleet_key)"
    say node "$(field node)"
fi
if [ -e /etc/fleetctl/.changed ]; then say stale yes; fi
echo end
