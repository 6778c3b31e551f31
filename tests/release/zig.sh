#!/usr/bin/env bash
# The C compiler of the musl targets: prints the path of a pinned zig, fetched from PyPI into a venv
# of its own below DIR the first time (about 90 MB, no root needed).
#
#   tests/release/zig.sh DIR      or with a zig that is there: ZIG=/path/to/zig make release
set -euo pipefail
dir=${1:?usage: tests/release/zig.sh DIR}
# Another version makes other bytes: this and Rust's version are part of what a release is made from.
VERSION=0.17.1

say() { printf 'release: %s\n' "$*" >&2; }

if [[ -n ${ZIG:-} ]]; then
    found=$("$ZIG" version) || { say "ZIG=$ZIG does not run"; exit 1; }
    [[ $found == "$VERSION" ]] || say "ZIG=$ZIG is $found, releases are made with $VERSION: the bytes will differ"
    command -v "$ZIG"
    exit 0
fi
venv=$dir/zig-$VERSION
zig() { echo "$venv"/lib/python3*/site-packages/ziglang/zig; }
if [[ ! -x $(zig) ]]; then
    command -v python3 >/dev/null || {
        say "python3 is missing; it fetches zig, the C compiler of the musl targets"
        say "on Debian: apt-get install python3-venv; without root: get zig $VERSION from https://ziglang.org/download, then ZIG=/path/to/zig make release"
        exit 1
    }
    say "fetching zig $VERSION"
    log=$dir/zig.log
    rm -rf "$venv"
    python3 -m venv "$venv" >"$log" 2>&1 || {
        tail -n 3 "$log" >&2
        rm -rf "$venv"
        say "python3 cannot make a venv here; on Debian: apt-get install python3-venv"
        say "without root: get zig $VERSION from https://ziglang.org/download, then ZIG=/path/to/zig make release"
        exit 1
    }
    "$venv/bin/pip" install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r "$(dirname "$0")/zig.txt" >"$log" 2>&1 || {
        tail -n 3 "$log" >&2
        rm -rf "$venv"
        say "zig $VERSION could not be fetched from PyPI; get it from https://ziglang.org/download, then ZIG=/path/to/zig make release"
        exit 1
    }
fi
zig
