#!/usr/bin/env bash
# Private container engines and a private registry for the integration tests.
#
#   tests/engines.sh start DIR    install what is missing, start, prepare images, write DIR/env
#   tests/engines.sh status DIR   exit 0 when all of it answers
#   tests/engines.sh stop DIR     end what `start` started, unmount, keep nothing but the logs
#
# Everything lives under DIR: data, sockets, configuration, pid files, logs. Other engines on the
# machine are neither used nor touched. `start` may be repeated; what runs already is kept.
set -euo pipefail

USER_NAME=fleet
# Its base64 holds `+` and `/`, it is not ASCII, and it must not be unescaped as part of a URL.
# No quoting is needed to source it from DIR/env.
PASSWORD='fl~~~t???p+/%40=ü'
PACKAGES=(docker.io podman runc netavark aardvark-dns iptables busybox-static ca-certificates
    curl docker-registry catatonit mosquitto jq iproute2)

say() { printf 'engines: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

[[ $# -eq 2 ]] || usage
action=$1
mkdir -p "$2"
D=$(cd "$2" && pwd)
[[ $D != / ]] || fail "the directory must not be /"
# A socket's path may have at most 107 bytes, and dockerd adds to it.
[[ ${#D} -le 60 ]] || fail "the path $D is longer than 60 bytes, too long for sockets; choose a shorter one"

# Podman reads everything from here, nothing from /etc.
export CONTAINERS_CONF=$D/containers.conf
export CONTAINERS_STORAGE_CONF=$D/storage.conf
export CONTAINERS_REGISTRIES_CONF=$D/registries.conf
export REGISTRY_AUTH_FILE=$D/no-auth.json
unset DOCKER_HOST DOCKER_CONTEXT CONTAINER_HOST

docker_() { docker -H "unix://$D/docker.sock" "$@"; }

# alive NAME: the process of DIR/NAME.pid lives and is the one that was started.
alive() {
    local pid
    pid=$(cat "$D/$1.pid" 2>/dev/null) && [[ -n $pid ]] &&
        { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "$D"
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || return 1
        sleep 0.05
    done
}

ping_socket() { [[ $(curl -s -m 2 --unix-socket "$1" http://engine/_ping) == OK ]]; }
ping_registry() {
    curl -s -m 2 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$(cat "$D/registry.port")/v2/" |
        grep -q 401
}

install_missing() {
    local missing=() p
    for p in "${PACKAGES[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] ||
            missing+=("$p")
    done
    # Docker's client is a package of its own since Debian 13.
    if ! command -v docker >/dev/null; then missing+=(docker-cli); fi
    [[ ${#missing[@]} -eq 0 ]] && return
    if [[ $EUID -ne 0 || ! -e /etc/debian_version ]]; then
        fail "these packages are missing, and only root on Debian can have them installed: ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    # Packages must not start system-wide engines.
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        made=1
    fi
    apt-get update -q >"$D/apt.log" 2>&1 || say "apt-get update failed; trying with the lists there are"
    # Older releases have the client inside docker.io and no package docker-cli.
    local wanted=()
    for p in "${missing[@]}"; do
        [[ $p == docker-cli ]] && ! apt-cache show docker-cli >/dev/null 2>&1 && continue
        wanted+=("$p")
    done
    local rc=0
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        "${wanted[@]}" >>"$D/apt.log" 2>&1 || rc=$?
    if [[ -n $made ]]; then rm -f $policy; fi
    [[ $rc -eq 0 ]] || fail "apt-get install ${wanted[*]} failed; see $D/apt.log"
}

write_configuration() {
    # runc and cgroupfs: crun refuses hybrid cgroups, and there may be no systemd. Soft and hard
    # limits are equal because the API of podman 4.3 swaps them; podman's own defaults are
    # refused where CAP_SYS_RESOURCE is missing.
    cat >"$D/containers.conf" <<CONF
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
events_logfile_path = "$D/podman-events.log"
tmp_dir = "$D/podman-tmp"
[network]
network_backend = "netavark"
network_config_dir = "$D/podman-networks"
CONF
    cat >"$D/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$D/podman"
runroot = "$D/podman-run"
CONF
    # Short names stay what they are: nothing is searched for outside.
    printf 'unqualified-search-registries = []\nshort-name-mode = "disabled"\n' >"$D/registries.conf"
    printf '{}' >"$D/no-auth.json"
    mkdir -p "$D/podman-networks"
    # An own bridge and subnet, so that neither podman nor another test run is in the way.
    local n=$(($(printf '%s' "$D" | cksum | cut -d' ' -f1) % 200))
    cat >"$D/podman-networks/podman.json" <<CONF
{"name":"podman","id":"2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
 "driver":"bridge","network_interface":"fcp$n","created":"2024-01-01T00:00:00Z",
 "subnets":[{"subnet":"10.89.$n.0/24","gateway":"10.89.$n.1"}],
 "ipv6_enabled":false,"internal":false,"dns_enabled":false,
 "ipam_options":{"driver":"host-local"}}
CONF
    printf '%s' "$n" >"$D/number"
}

start_docker() {
    alive docker && return
    rm -f "$D/docker.sock" "$D/docker.pid"
    # An own bridge is made by hand: a second dockerd that shares docker0 takes it down, and
    # `--bridge=none` would delete it. No userland proxy: one process less per port.
    local n bridge
    n=$(cat "$D/number")
    bridge=fcd$n
    ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
    ip addr replace "10.87.$n.1/24" dev "$bridge"
    ip link set "$bridge" up
    setsid dockerd --host "unix://$D/docker.sock" --pidfile "$D/docker.pid" \
        --data-root "$D/docker" --exec-root "$D/docker-exec" --bridge "$bridge" \
        --config-file "$D/daemon.json" >"$D/docker.log" 2>&1 </dev/null &
}

start_podman() {
    alive podman && return
    rm -f "$D/podman.sock"
    # In its own directory: conmon leaves a file named `oom` where it was started.
    # shellcheck disable=SC2016
    setsid sh -c 'cd "$1" && exec podman system service --time=0 "unix://$1/podman.sock"' sh "$D" \
        >"$D/podman.log" 2>&1 </dev/null &
    echo $! >"$D/podman.pid"
}

start_registry() {
    alive registry && return
    local port=42080
    while ss -Hltn "sport = :$port" | grep -q .; do port=$((port + 1)); done
    printf '%s' "$port" >"$D/registry.port"
    # htpasswd of apache2-utils is one more package; crypt(3) does bcrypt.
    # shellcheck disable=SC2016
    printf '%s:%s\n' "$USER_NAME" \
        "$(perl -e 'print crypt($ARGV[0], q($2y$05$) . q(abcdefghijklmnopqrstuu))' "$PASSWORD")" \
        >"$D/htpasswd"
    cat >"$D/registry.yml" <<CONF
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $D/registry}
http: {addr: "127.0.0.1:$port"}
auth:
  htpasswd: {realm: test, path: $D/htpasswd}
CONF
    # Without podman's variable: the registry takes REGISTRY_… for its own configuration.
    env -u REGISTRY_AUTH_FILE setsid docker-registry serve "$D/registry.yml" >"$D/registry.log" 2>&1 </dev/null &
    echo $! >"$D/registry.pid"
}

# A root file system of one static busybox: no image can be pulled from outside.
make_root() {
    [[ -s $D/root.tar ]] && return
    local root=$D/root applet
    rm -rf "$root"
    mkdir -p "$root"/{bin,etc,tmp,var,www,proc,sys,dev}
    cp "$(dpkg -L busybox-static | grep -m1 '/bin/busybox$')" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [[ $applet == busybox ]] || ln -f "$root/bin/busybox" "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo hello >"$root/www/index.html"
    chmod 1777 "$root/tmp"
    tar -C "$root" -cf "$D/root.tar.part" .
    mv "$D/root.tar.part" "$D/root.tar"
    rm -rf "$root"
}

podman_import() { podman import -q -c 'ENV PATH=/bin' "$@" >/dev/null; }

prepare_docker_image() {
    docker_ image inspect fleetctl-test:1 >/dev/null 2>&1 ||
        docker_ import -c 'ENV PATH=/bin' "$D/root.tar" fleetctl-test:1 >/dev/null
}

prepare_podman_images() {
    local registry name other=s390x
    registry=127.0.0.1:$(cat "$D/registry.port")
    podman image exists localhost/fleetctl-test:1 ||
        podman_import "$D/root.tar" localhost/fleetctl-test:1
    [[ -e $D/registry.filled ]] && return
    [[ $(uname -m) != s390x ]] || other=amd64
    # Small ones: what is tested is the way there.
    mkdir -p "$D/small/bin"
    cp "$(dpkg -L busybox-static | grep -m1 '/bin/busybox$')" "$D/small/bin/sh"
    for name in hello:1 hello:2 wrongarch:1; do
        local arch=()
        [[ $name != wrongarch:1 ]] || arch=(--arch "$other")
        echo "$name" >"$D/small/name"
        tar -C "$D/small" -cf "$D/small.tar" .
        podman_import "${arch[@]}" -c 'CMD ["/bin/sh", "-c", "cat /name; exec sleep 3600"]' \
            "$D/small.tar" "$registry/fleet/$name"
        podman push -q --tls-verify=false --creds "$USER_NAME:$PASSWORD" "$registry/fleet/$name"
        podman rmi "$registry/fleet/$name" >/dev/null
    done
    rm -rf "$D/small" "$D/small.tar"
    touch "$D/registry.filled"
}

write_env() {
    local registry
    registry=127.0.0.1:$(cat "$D/registry.port")
    jq -n --arg r "$registry" --arg u "$USER_NAME" --arg p "$PASSWORD" \
        '{auths: {($r): {auth: ("\($u):\($p)" | @base64)}}}' >"$D/config.json"
    cat >"$D/env.part" <<ENV
FLEETCTL_TEST_DOCKER_SOCKET=$D/docker.sock
FLEETCTL_TEST_PODMAN_SOCKET=$D/podman.sock
FLEETCTL_TEST_REGISTRY=$registry
FLEETCTL_TEST_REGISTRY_USER=$USER_NAME
FLEETCTL_TEST_REGISTRY_PASSWORD=$PASSWORD
FLEETCTL_TEST_DOCKER_CONFIG=$D/config.json
ENV
    mv "$D/env.part" "$D/env"
}

start() {
    [[ $EUID -eq 0 ]] || fail "container engines for tests need root; run it as root"
    install_missing
    # The engines look for their programs here, also where the caller's PATH is short.
    export PATH=$PATH:/usr/sbin:/sbin
    write_configuration
    [[ -e $D/daemon.json ]] || printf '{"userland-proxy": false}' >"$D/daemon.json"
    start_docker
    start_registry
    start_podman
    make_root
    wait_for 30 ping_registry || fail "the registry does not answer; see $D/registry.log"
    wait_for 30 ping_socket "$D/podman.sock" || fail "podman does not answer; see $D/podman.log"
    prepare_podman_images || fail "the images for podman and the registry could not be made"
    wait_for 30 ping_socket "$D/docker.sock" || fail "dockerd does not answer; see $D/docker.log"
    prepare_docker_image || fail "the image for docker could not be made"
    write_env
    say "ready; source $D/env"
}

status() {
    local rc=0
    if ping_socket "$D/docker.sock"; then say "docker answers"; else say "docker does not answer"; rc=1; fi
    if ping_socket "$D/podman.sock"; then say "podman answers"; else say "podman does not answer"; rc=1; fi
    if ping_registry 2>/dev/null; then say "registry answers"; else say "registry does not answer"; rc=1; fi
    return $rc
}

# end NAME: TERM, and KILL after 10 s.
end() {
    local pid
    alive "$1" || { rm -f "$D/$1.pid"; return 0; }
    pid=$(cat "$D/$1.pid")
    kill "$pid" 2>/dev/null || true
    wait_for 10 test ! -e "/proc/$pid" || kill -9 "$pid" 2>/dev/null || true
    rm -f "$D/$1.pid"
}

stop() {
    # By hand and with no grace, else each container costs ten seconds.
    if alive podman; then
        timeout 30 podman rm -a -f -t 0 >/dev/null 2>&1 || true
    fi
    if alive docker && ping_socket "$D/docker.sock"; then
        docker_ ps -aq | xargs -r docker -H "unix://$D/docker.sock" rm -f >/dev/null 2>&1 || true
    fi
    end podman
    end docker
    end registry
    # Deepest first.
    awk -v d="$D/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r m; do umount -l "$m" || true; done
    if [[ -s $D/number ]]; then
        ip link del "fcd$(cat "$D/number")" 2>/dev/null || true
        ip link del "fcp$(cat "$D/number")" 2>/dev/null || true
    fi
    # What was made, by name: a wrong DIR must not cost anything else.
    rm -rf "$D"/{docker,docker-exec,podman,podman-run,podman-tmp,podman-networks,registry,root,small}
    rm -f "$D"/{root.tar,small.tar,registry.filled,registry.port,registry.yml,env,number,htpasswd} \
        "$D"/{docker.sock,podman.sock,config.json,no-auth.json,daemon.json} \
        "$D"/{containers,storage,registries}.conf "$D"/podman-events.log{,.lock}
}

case $action in
    start) start ;;
    status) status ;;
    stop) stop ;;
    *) usage ;;
esac
