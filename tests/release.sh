#!/usr/bin/env bash
# A release in target/dist: for each target a static binary and a tarball with everything that
# belongs to it, its list of parts (SBOM), packages, and SHA256SUMS of all.
#
#   tests/release.sh                                            all targets
#   TARGETS="x86_64-unknown-linux-musl" tests/release.sh        some of them
#   DIST=DIR tests/release.sh                                   elsewhere
#
# Two runs of one commit make the same bytes, wherever they run (`make reproducible` shows it): what
# is packed is sorted, belongs to nobody, and is as old as the commit. One script per step is in
# tests/release.
set -euo pipefail
cd "$(dirname "$0")/.."
TARGETS=${TARGETS:-x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf}
DIST=${DIST:-target/dist}
export LC_ALL=C TZ=UTC
umask 022

say() { printf 'release: %s\n' "$*" >&2; }

version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
# The commit's time is that of everything; a source tree without git has one that never changes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)}
export SOURCE_DATE_EPOCH

# By root on Debian what is missing is installed; else everything that is missing is said before the first minute of compiling.
tests/prepare.sh release
ready=1
for target in $TARGETS; do tests/release/compile.sh "$target" --check || ready=; done
tests/release/sbom.sh --check || ready=
if [[ -z $ready ]]; then
    say "nothing was built; some targets only: make release TARGETS=\"x86_64-unknown-linux-musl\""
    exit 1
fi

rm -rf "$DIST"
mkdir -p "$DIST/tree"
DIST=$(cd "$DIST" && pwd)
for target in $TARGETS; do
    say "building for $target"
    began=$SECONDS
    tests/release/compile.sh "$target" "$DIST/tree/fleetctl-$version-$target/fleetctl"
    say "built for $target in $((SECONDS - began)) s"
done

say "writing manual pages and completions"
cargo run --quiet --locked --example man -- "$DIST/tree/share"
for target in $TARGETS; do
    tests/release/sbom.sh "$target" "$DIST/fleetctl-$version-$target.cdx.json"
    tests/release/tarball.sh "$DIST" "$version" "$target"
done
# The bare binary of this kind of machine, for benchmarks and for who only wants to try.
native=$DIST/tree/fleetctl-$version-x86_64-unknown-linux-musl/fleetctl
if [[ -e $native ]]; then cp "$native" "$DIST/fleetctl"; fi

if [[ -x tests/release/packages.sh ]]; then
    say "making packages"
    tests/release/packages.sh "$DIST" "$version"
fi

# Of all that is handed out: files, not the trees that they were packed from.
(
    cd "$DIST"
    find . -maxdepth 1 -type f ! -name SHA256SUMS ! -name fleetctl -printf '%f\0' | sort -z | xargs -0 sha256sum >SHA256SUMS
    for target in $TARGETS; do
        bytes=$(wc -c <"tree/fleetctl-$version-$target/fleetctl")
        printf '%-32s %9s bytes (%s MiB)\n' "$target" "$bytes" "$(awk -v b="$bytes" 'BEGIN { printf "%.2f", b / 1048576 }')"
    done
    echo
    while read -r sum file; do printf '%s  %9s  %s\n' "$sum" "$(wc -c <"$file")" "$file"; done <SHA256SUMS
)
