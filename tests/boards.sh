#!/usr/bin/env bash
# Boards for the tests: a Debian with a real init system and a real sshd each, in a network of a
# test's own.
#
#   tests/boards.sh root [ARCH]                        make the pristine root once, print its path
#   tests/boards.sh make DIR NAME                      mount a board's disk at DIR/NAME/root, no boot
#   tests/boards.sh start DIR NAME ADDRESS [INIT [OPTION…]]
#                                                      boot it; return when its sshd answers
#   tests/boards.sh halt DIR [NAME…]                   cut the power; the disks stay for `start`
#   tests/boards.sh stop DIR [NAME…]                   take boards away; without a name: everything
#   tests/boards.sh exec DIR [NAME] -- COMMAND…        run inside a board, or in the control namespace
#
# ARCH    amd64 (default), arm64, armhf; the foreign ones through qemu-user-static and binfmt_misc
# INIT    systemd (default), openrc, none (nothing but sshd)
# OPTION  read-only        the root cannot be written
#         noexec-tmp       nothing on /tmp can be executed
#         small:PATH:SIZE  PATH is a disk of its own, of SIZE (4M)
#         arch:ARCH        a root of that architecture
#         anything else is an option of systemd-nspawn
#
# DIR holds all of it: DIR/key (the SSH key of root, of `pi`, who may sudo, and of `guest`, who may
# not), DIR/env (CONTROL, the name of the control namespace, for `ip netns exec`, and TAG), DIR/NAME/
# (root, log, pid, net: the name of its namespace). The control namespace has address .1 of the /24 of
# the first board; it reaches nothing but boards. BOARDS_OWNER=PID: everything of DIR is taken away
# when that process ends, however it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

say() { printf 'boards: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

STORE=.boards
HIERARCHIES=(/sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd)
MIRROR=${BOARDS_MIRROR:-http://deb.debian.org/debian}
PACKAGES=systemd,systemd-sysv,dbus,openssh-server,openssh-client,iproute2,sudo,procps,openrc,catatonit

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || return 1
        sleep 0.05
    done
}

# --- the pristine root -------------------------------------------------------------------------

# register ARCH: programs of that architecture run here. `F`: the kernel keeps the emulator open, so
# that it is found in every root.
register() {
    local misc=/proc/sys/fs/binfmt_misc name magic
    case $1 in
    amd64) return 0 ;;
    arm64) name=qemu-aarch64 magic='\x02\x00\xb7\x00' ;;
    armhf) name=qemu-arm magic='\x02\x00\x28\x00' ;;
    *) fail "there is no root for $1; amd64, arm64 and armhf there are" ;;
    esac
    [[ -x /usr/bin/$name-static ]] || fail "/usr/bin/$name-static is missing: apt-get install qemu-user-static"
    [[ -e $misc/register ]] || mount -t binfmt_misc none $misc
    # One of another origin without `F` would not be found inside a root.
    if [[ -e $misc/$name ]] && grep -q '^flags: .*F' "$misc/$name"; then return 0; fi
    local class='\x02' mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    [[ $1 != armhf ]] || class='\x01'
    [[ ! -e $misc/$name ]] || echo -1 >"$misc/$name"
    printf '%s' ":$name:M::\\x7fELF$class\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00$magic:$mask:/usr/bin/$name-static:F" \
        >$misc/register
}

make_root() {
    local arch=$1 root log
    root=$PWD/$STORE/root-$arch
    mkdir -p $STORE
    register "$arch"
    exec 9>"$STORE/root-$arch.lock"
    flock 9
    if [[ ! -e $root/.ready ]]; then
        command -v debootstrap >/dev/null || fail "debootstrap is missing: tests/prepare.sh"
        say "making a root for $arch"
        log=$PWD/$STORE/root-$arch.log
        rm -rf "$root"
        debootstrap --arch="$arch" --variant=minbase --include=$PACKAGES bookworm "$root" "$MIRROR" >"$log" 2>&1 || {
            tail -n 5 "$log" >&2
            fail "debootstrap failed; its log is $log"
        }
        furnish "$root" >>"$log" 2>&1 || {
            tail -n 5 "$log" >&2
            fail "the root could not be furnished; the log is $log"
        }
        touch "$root/.ready"
    fi
    exec 9>&-
    printf '%s\n' "$root"
}

# What every board has; and nothing that costs time while it boots.
furnish() {
    local root=$1 unit
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
    rm -f "$root"/etc/ssh/ssh_host_*
    ssh-keygen -q -t ed25519 -N '' -C board -f "$root/etc/ssh/ssh_host_ed25519_key"
    cat >"$root/etc/ssh/sshd_config" <<'SSHD'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
Subsystem sftp /usr/lib/openssh/sftp-server
SSHD
    : >"$root/etc/ssh/authorized_keys"
    chroot "$root" useradd -m -s /bin/sh pi
    chroot "$root" useradd -m -s /bin/sh guest
    # No password, and not locked: a locked account is refused by sshd without PAM.
    sed -i 's/^\(pi\|guest\):!*/\1:*/' "$root/etc/shadow"
    echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/pi"
    chmod 440 "$root/etc/sudoers.d/pi"
    : >"$root/etc/machine-id"
    : >"$root/etc/fstab"
    mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d" "$root/run/sshd"
    printf '[Journal]\nStorage=volatile\nForwardToConsole=no\n' >"$root/etc/systemd/journald.conf.d/boards.conf"
    printf '[Manager]\nShowStatus=no\nDefaultTimeoutStopSec=10s\n' >"$root/etc/systemd/system.conf.d/boards.conf"
    for unit in getty.target console-getty.service getty@.service systemd-udevd.service systemd-logind.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer systemd-tmpfiles-clean.timer systemd-networkd-wait-online.service systemd-pcrphase.service \
        systemd-pcrphase-sysinit.service dev-hugepages.mount systemd-update-utmp.service \
        systemd-update-utmp-runlevel.service rc-local.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    # An OpenRC board starts its services and nothing that belongs to hardware.
    rm -f "$root"/etc/runlevels/{sysinit,boot,default}/* "$root"/etc/rc?.d/S*
    mkdir -p "$root/etc/runlevels/default"
    cat >"$root/usr/local/sbin/board-openrc" <<'RC'
#!/bin/sh
mkdir -p /run/openrc /run/sshd
touch /run/openrc/softlevel
openrc sysinit
openrc boot
openrc default
exec /usr/sbin/sshd -D -e
RC
    cat >"$root/usr/local/sbin/board-none" <<'RC'
#!/bin/sh
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e
RC
    chmod 755 "$root"/usr/local/sbin/board-*
}

# --- the network ---------------------------------------------------------------------------------

# settle DIR: D, TAG, CONTROL.
settle() {
    mkdir -p "$1"
    D=$(cd "$1" && pwd)
    [[ $D != / ]] || fail "the directory must not be /"
    TAG=$(printf '%s' "$D" | cksum | cut -d' ' -f1)
    TAG=$(printf '%08x' "$TAG")
    CONTROL=fb$TAG
}

check_name() {
    [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,62}$ && $1 != env && $1 != key ]] || fail "\"$1\" is no name for a board"
}

# control ADDRESS: the namespace with the bridge, once.
control() {
    local subnet=${1%.*}
    exec 8>"$D/lock"
    flock 8
    if ! ip netns pids "$CONTROL" >/dev/null 2>&1; then
        ip netns add "$CONTROL"
        ip -n "$CONTROL" link set lo up
        ip -n "$CONTROL" link add boards type bridge mcast_snooping 0
        ip -n "$CONTROL" addr add "$subnet.1/24" dev boards
        ip -n "$CONTROL" link set boards up
    fi
    [[ -e $D/key ]] || ssh-keygen -q -t ed25519 -N '' -C boards -f "$D/key"
    printf 'CONTROL=%s\nTAG=%s\n' "$CONTROL" "$TAG" >"$D/env"
    if [[ -n ${BOARDS_OWNER:-} && ! -e $D/owner ]]; then
        echo "$BOARDS_OWNER" >"$D/owner"
        # Takes everything away when the owner is gone; ends by itself when there is nothing left.
        setsid bash -c 'while [[ -e $2/owner ]] && kill -0 "$3"; do sleep 1; done
            [[ ! -e $2/owner ]] || "$1" stop "$2"' - "$PWD/tests/boards.sh" "$D" "$BOARDS_OWNER" \
            </dev/null >/dev/null 2>&1 8>&- &
    fi
    exec 8>&-
}

# cable NAME ADDRESS: its namespace, plugged into the bridge.
cable() {
    local ns=$CONTROL-$1 plug subnet=${2%.*}
    [[ $(cat "$D/$1/net" 2>/dev/null) != "$ns $2" ]] || return 0
    plug=b$(printf '%s' "$1" | cksum | cut -d' ' -f1)
    ip netns del "$ns" 2>/dev/null || true
    ip -n "$CONTROL" link del "$plug" 2>/dev/null || true
    ip netns add "$ns"
    ip -n "$CONTROL" link add "$plug" type veth peer name eth0 netns "$ns"
    ip -n "$CONTROL" link set "$plug" master boards up
    ip -n "$ns" addr add "$2/24" broadcast + dev eth0
    ip -n "$ns" link set lo up
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add default via "$subnet.1" 2>/dev/null || true
    echo "$ns $2" >"$D/$1/net"
}

# --- a board ---------------------------------------------------------------------------------------

# disk NAME ARCH: DIR/NAME/root is a fresh overlay of the pristine root, on a disk in memory.
disk() {
    local at=$D/$1 pristine
    ! mountpoint -q "$at/root" || return 0
    pristine=$(make_root "$2")
    mkdir -p "$at/disk" "$at/root"
    mountpoint -q "$at/disk" || mount -t tmpfs -o size=1g,mode=755 "board-$1" "$at/disk"
    mkdir -p "$at/disk/upper" "$at/disk/work"
    mount -t overlay -o "lowerdir=$pristine,upperdir=$at/disk/upper,workdir=$at/disk/work" "board-$1" "$at/root"
    # The key is there once the first board has started; `make` alone makes it too.
    if [[ ! -e $D/key ]]; then
        (flock 8 && { [[ -e $D/key ]] || ssh-keygen -q -t ed25519 -N '' -C boards -f "$D/key"; }) 8>"$D/lock"
    fi
    cp "$D/key.pub" "$at/root/etc/ssh/authorized_keys"
    echo "$1" >"$at/root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" >"$at/root/etc/hosts"
    tr -d - </proc/sys/kernel/random/uuid >"$at/root/etc/machine-id"
}

alive() {
    local pid
    pid=$(cat "$D/$1/pid" 2>/dev/null) && [[ -n $pid ]] && [[ -d /proc/$pid ]] &&
        { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "$D/$1/root"
}

# confine NAME: this process goes into control groups of the board's own, in the hierarchies that an
# init system manages, so that it finds itself at the root of each.
confine() {
    local each
    for each in "${HIERARCHIES[@]}"; do
        [[ -e $each/cgroup.procs ]] || continue
        mkdir -p "$each/boards-$TAG/$1"
        echo "$BASHPID" >"$each/boards-$TAG/$1/cgroup.procs" || true
    done
}

answers() {
    ip netns exec "$CONTROL" timeout 2 bash -c "exec 3<>/dev/tcp/$1/22 && read -r banner <&3 && [[ \$banner == SSH-* ]]"
}

start() {
    local name=$1 address=$2 init=${3:-systemd} arch=amd64 option
    shift $(($# < 3 ? $# : 3))
    check_name "$name"
    local args=()
    for option; do
        case $option in
        read-only) args+=(--read-only) ;;
        noexec-tmp) args+=('--tmpfs=/tmp:noexec,nosuid,mode=1777') ;;
        small:*:*)
            option=${option#small:}
            args+=("--tmpfs=${option%:*}:mode=755,size=${option##*:}")
            ;;
        arch:*) arch=${option#arch:} ;;
        *) args+=("$option") ;;
        esac
    done
    [[ $EUID -eq 0 ]] || fail "boards need root"
    command -v systemd-nspawn >/dev/null || fail "systemd-nspawn is missing: tests/prepare.sh"
    if alive "$name"; then fail "the board $name runs already"; fi
    control "$address"
    mkdir -p "$D/$name"
    disk "$name" "$arch"
    cable "$name" "$address"
    case $init in
    systemd) set -- --boot ;;
    openrc | none) set -- --as-pid2 ;;
    *) fail "there is no init system \"$init\"; systemd, openrc and none there are" ;;
    esac
    args+=("$@")
    [[ $init == systemd ]] || args+=("/usr/local/sbin/board-$init")
    (
        confine "$name"
        exec setsid systemd-nspawn --quiet --register=no --keep-unit --settings=no --link-journal=no \
            --resolv-conf=off --timezone=off --notify-ready=no --console=pipe --capability=CAP_NET_ADMIN \
            --machine="$name-$TAG" --hostname="$name" --network-namespace-path="/run/netns/$CONTROL-$name" \
            --directory="$D/$name/root" --kill-signal=SIGRTMIN+3 "${args[@]}" \
            </dev/null >"$D/$name/log" 2>&1
    ) &
    echo $! >"$D/$name/pid"
    disown
    SECONDS=0
    until answers "$address" 2>/dev/null; do
        [[ -d /proc/$(cat "$D/$name/pid") ]] || {
            tail -n 15 "$D/$name/log" >&2
            fail "the board $name did not start"
        }
        ((SECONDS < ${BOARDS_PATIENCE:-60})) || {
            tail -n 15 "$D/$name/log" >&2
            fail "sshd of $name did not answer within ${BOARDS_PATIENCE:-60} seconds; the log is $D/$name/log"
        }
        sleep 0.05
    done
}

# groups NAME: its control groups, the inner ones first.
groups() {
    local each
    for each in "${HIERARCHIES[@]}"; do
        find "$each/boards-$TAG${1:+/$1}" -depth -type d 2>/dev/null || true
    done
}

# end_all [NAME]: every process of a board, or of all; those of its init system with it.
end_all() {
    local left group pid _
    for _ in {1..40}; do
        left=
        while read -r group; do
            while read -r pid; do
                [[ $pid -gt 1 ]] || continue
                left=1
                kill -KILL "$pid" 2>/dev/null || true
            done < <(cat "$group/cgroup.procs" 2>/dev/null)
        done < <(groups "${1:-}")
        [[ -n $left ]] || break
        sleep 0.05
    done
    while read -r group; do rmdir "$group" 2>/dev/null || true; done < <(groups "${1:-}")
}

halt() {
    if alive "$1"; then kill -KILL "$(cat "$D/$1/pid")" 2>/dev/null || true; fi
    end_all "$1"
    rm -f "$D/$1/pid" "$D/$1/.#root.lck"
}

remove() {
    local name=$1 each
    halt "$name"
    for each in root disk; do
        while mountpoint -q "$D/$name/$each"; do umount "$D/$name/$each" 2>/dev/null || umount -l "$D/$name/$each"; done
    done
    ip netns del "$CONTROL-$name" 2>/dev/null || true
    rm -rf "${D:?}/$name"
    rm -rf "/run/systemd/nspawn/propagate/$name-$TAG" "/run/systemd/nspawn/unix-export/$name-$TAG"
}

names() {
    local each
    for each in "$D"/*/; do [[ -e ${each}root || -e ${each}net ]] && basename "$each"; done || true
}

(($#)) || usage
action=$1
shift
case $action in
root) make_root "${1:-amd64}" ;;
make)
    [[ $# -ge 2 ]] || usage
    settle "$1"
    check_name "$2"
    mkdir -p "$D/$2"
    disk "$2" "${3:-amd64}"
    printf '%s\n' "$D/$2/root"
    ;;
start)
    [[ $# -ge 3 ]] || usage
    settle "$1"
    shift
    start "$@"
    ;;
halt)
    [[ $# -ge 1 ]] || usage
    settle "$1"
    shift
    if (($# == 0)); then mapfile -t all < <(names) && set -- "${all[@]}"; fi
    for name; do halt "$name"; done
    ;;
stop)
    [[ $# -ge 1 ]] || usage
    [[ -d $1 ]] || exit 0
    settle "$1"
    shift
    if (($#)); then
        for name; do remove "$name"; done
        exit 0
    fi
    rm -f "$D/owner"
    end_all
    for name in $(names); do remove "$name" & done
    wait
    end_all
    ip netns del "$CONTROL" 2>/dev/null || true
    rm -f "$D"/{key,key.pub,env,lock}
    rmdir "$D" 2>/dev/null || true
    ;;
exec)
    [[ $# -ge 2 ]] || usage
    settle "$1"
    shift
    if [[ $1 == -- ]]; then
        shift
        exec ip netns exec "$CONTROL" "$@"
    fi
    name=$1
    shift
    [[ ${1:-} != -- ]] || shift
    alive "$name" || fail "the board $name does not run"
    # The first process of the board is the child of nspawn (with a stub: the stub).
    inner=$(pgrep -P "$(cat "$D/$name/pid")" | head -n 1)
    exec nsenter -t "$inner" -m -u -i -p -n -r -w -- "$@"
    ;;
*) usage ;;
esac
