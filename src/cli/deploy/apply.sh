# Makes the board as wanted. Before this text stand, beside what probe.sh has, INIT, SHA256 (empty: no
# binary comes), ENABLE, START (no, start, restart), JOIN (no, yes, again) and PATIENCE in seconds. On
# standard input come config, env, unit, settings (base64, `-`: stays, `x`: goes) and the token (`-`:
# none), a line each; then the binary.
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
umask 077
SERVICE=fleetctl-agent
trouble() {
    printf 'fleetctl-trouble %s\n' "$*"
    exit 91
}
step() { printf 'fleetctl-step %s\n' "$1"; }
# A directory that is there stays as it is: its mode is its owner's affair. Others may look into ours.
folder() { (umask 022 && mkdir -p "$1") || trouble write "$1"; }
put() {
    case $3 in
    -) return ;;
    x) rm -f "$1" || trouble write "$1" ;;
    *)
        folder "${1%/*}"
        { printf '%s' "$3" | base64 -d >"$1.fleetctl-new" && chmod "$2" "$1.fleetctl-new" &&
            mv -f "$1.fleetctl-new" "$1"; } 2>/dev/null || {
            rm -f "$1.fleetctl-new"
            trouble write "$1"
        }
        ;;
    esac
}

read -r config && read -r env && read -r unit && read -r settings && read -r token || trouble cut
if [ "$config$env$unit$settings" != ---- ] || [ -n "$SHA256" ]; then
    folder /etc/fleetctl
    { : >/etc/fleetctl/.changed; } 2>/dev/null || trouble write /etc/fleetctl
fi

if [ -n "$SHA256" ]; then
    step copying
    folder "$INSTALL_DIR"
    rm -f "$INSTALL_DIR"/.fleetctl-new.*
    new=$INSTALL_DIR/.fleetctl-new.$$
    trap 'rm -f "$new"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
    if ! why=$(cat 2>&1 >"$new"); then
        cat >/dev/null
        trouble copy "$INSTALL_DIR" "$why"
    fi
    [ "$(sha256sum <"$new" | cut -d ' ' -f 1)" = "$SHA256" ] || trouble hash
    chmod 755 "$new"
    why=$("$new" --version 2>&1 >/dev/null) || trouble exec "$why"
    sync "$new" 2>/dev/null || sync
    mv -f "$new" "$INSTALL_DIR/fleetctl" || trouble write "$INSTALL_DIR/fleetctl"
    trap - EXIT
fi

put /etc/fleetctl/agent.toml 644 "$config"
put /etc/fleetctl/agent.env 600 "$env"
case $INIT in
systemd)
    put /etc/systemd/system/$SERVICE.service 644 "$unit"
    put /etc/default/$SERVICE 644 "$settings"
    # Enabling makes systemd read everything anew as well.
    [ "$unit$settings" = -- ] || [ "$ENABLE" = yes ] || systemctl daemon-reload ||
        trouble service "systemctl daemon-reload"
    ;;
openrc)
    put /etc/init.d/$SERVICE 755 "$unit"
    put /etc/conf.d/$SERVICE 644 "$settings"
    ;;
esac

log() {
    case $INIT in
    systemd) journalctl -u $SERVICE -n 5 -o cat --no-pager 2>/dev/null | grep -v '^Start' | tail -n 1 ;;
    *) tail -n 1 /var/log/$SERVICE.log 2>/dev/null ;;
    esac
}

case $JOIN in
yes | again)
    if [ "$JOIN" = again ]; then
        case $INIT in
        systemd) systemctl stop $SERVICE ;;
        openrc) rc-service $SERVICE stop >/dev/null 2>&1 ;;
        esac
        rm -f "$DATA_DIR/fleet.json" "$DATA_DIR/node.key"
    fi
    folder /etc/fleetctl
    { printf '%s\n' "$token" >/etc/fleetctl/join.token; } 2>/dev/null ||
        trouble write /etc/fleetctl/join.token
    ;;
esac
if [ "$ENABLE" = yes ]; then
    case $INIT in
    systemd) systemctl enable --quiet $SERVICE 2>/dev/null || trouble service "systemctl enable $SERVICE" ;;
    openrc) rc-update add $SERVICE default >/dev/null 2>&1 || trouble service "rc-update add $SERVICE" ;;
    esac
fi
if [ "$START" != no ]; then
    step starting
    case $INIT in
    systemd)
        # One that is to join is ready only then.
        block=
        [ "$JOIN" = no ] || block=--no-block
        # shellcheck disable=SC2086 # no word at all, or one
        systemctl $block restart $SERVICE || trouble service "systemctl restart $SERVICE"
        ;;
    openrc) rc-service $SERVICE restart >/dev/null 2>&1 </dev/null || trouble service "rc-service $SERVICE restart" ;;
    esac
fi
if [ "$JOIN" != no ]; then
    step joining
    ticks=$((PATIENCE * 10))
    until [ -s "$DATA_DIR/fleet.json" ]; do
        ticks=$((ticks - 1))
        if [ $ticks -le 0 ]; then
            rm -f /etc/fleetctl/join.token
            trouble join "$(log)"
        fi
        sleep 0.1 2>/dev/null || { sleep 1 && ticks=$((ticks - 9)); }
    done
    rm -f /etc/fleetctl/join.token
fi
if [ "$START" != no ]; then rm -f /etc/fleetctl/.changed; fi
echo fleetctl-done
