#!/usr/bin/env bash
# What the tests need and this machine lacks: installed by root on Debian, else named.
#
#   tests/prepare.sh release      only what `make release` builds with
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'prepare: %s\n' "$*" >&2; }

# The engines' script knows what engines need; the list stands there only.
eval "$(sed -n '/^PACKAGES=(/,/)$/p' tests/engines.sh)"
[[ ${#PACKAGES[@]} -gt 0 ]] || { say "tests/engines.sh names no packages"; exit 1; }
# A linker and a C compiler for the C parts of dependencies; the rest is for tests and benchmarks.
PACKAGES+=(gcc libc6-dev make python3 iproute2 prometheus)
# The dashboard is tested in a real browser; its text needs a font.
PACKAGES+=(chromium chromium-driver fonts-dejavu-core pngquant)
# Boards of the tests: tests/boards.sh.
PACKAGES+=(systemd shellcheck systemd-container debootstrap openssh-client openssh-server qemu-user-static)
# The mail server that alerts are delivered to.
PACKAGES+=(python3-aiosmtpd)

# What `make release` builds with, and what its binaries for other processors are tried with.
RELEASE=(gcc libc6-dev make binutils musl-tools python3 python3-venv gcc-arm-linux-gnueabihf libc6-dev-armhf-cross)
PACKAGES+=("${RELEASE[@]}" qemu-user-static man-db bash-completion)
# What its packages are checked and tried with.
PACKAGES+=(lintian docker-compose)
if [[ ${1:-} == release ]]; then
    # Elsewhere `make release` names what it lacks by itself.
    if [[ $EUID -ne 0 || ! -e /etc/debian_version ]]; then exit 0; fi
    PACKAGES=("${RELEASE[@]}")
fi

missing=()
if command -v dpkg-query >/dev/null; then
    for package in "${PACKAGES[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
else
    # Other systems: the programs, by the names they have there.
    for program in dockerd podman runc netavark iptables busybox curl docker-registry catatonit \
        mosquitto jq ip gcc make python3 prometheus promtool chromium chromedriver pngquant; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
fi
if [[ $EUID -ne 0 || ! -e /etc/debian_version ]]; then
    say "the whole suite starts container engines and network namespaces: it runs as root on Debian"
    command -v cargo >/dev/null || missing+=("cargo (https://rustup.rs)")
    if ((${#missing[@]})); then say "missing here: $(printf "%s, " "${missing[@]}" | sed "s/, $//")"; else say "nothing is missing"; fi
    [[ $EUID -eq 0 ]] || say "you are not root: try \`sudo -E make test\`"
    [[ -e /etc/debian_version ]] || say "this is not Debian"
    say "what needs neither: cargo test --lib"
    exit 1
fi

command -v cargo >/dev/null || {
    say "cargo is missing: install Rust (https://rustup.rs); rust-toolchain.toml chooses its version"
    exit 1
}
((${#missing[@]})) || exit 0
say "installing ${missing[*]}"
log=$(mktemp)
# Packages must not start system-wide engines or brokers.
policy=/usr/sbin/policy-rc.d
made=
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made=1
fi
cleanup() { if [[ -n $made ]]; then rm -f $policy; fi; }
trap cleanup EXIT
apt-get update -q >"$log" 2>&1 || say "apt-get update failed; trying with the lists there are"
if ! DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    "${missing[@]}" >>"$log" 2>&1; then
    tail -n 5 "$log" >&2
    say "apt-get install failed; the whole log is $log"
    exit 1
fi
rm -f "$log"
