#!/usr/bin/env bash
# Builds the release a second time, from a copy of the sources in another directory, with other
# directories for what is built and for cargo's own, and compares every file with the first.
#
#   TARGETS="…" tests/release/reproduce.sh        compares with target/dist, which `make release` made
set -euo pipefail
cd "$(dirname "$0")/../.."
first=${DIST:-target/dist}

say() { printf 'reproducible: %s\n' "$*" >&2; }

[[ -e $first/SHA256SUMS ]] || { say "there is no $first/SHA256SUMS to compare with: make release"; exit 1; }
first=$(cd "$first" && pwd)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

again=$(mktemp -d "${TMPDIR:-/tmp}/fleetctl-again.XXXXXX")
trap 'rm -rf "$again"' EXIT
mkdir -p "$again/some where/else" "$again/cargo home"
# What git knows or would take in: the sources as they are now, also when they are not committed yet.
git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null |
    tar --create --files-from=- | tar --extract --directory "$again/some where/else"
# Cargo's home has another path; what is in it need not be fetched once more.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
for part in registry git; do
    if [[ -e $cargo_home/$part ]]; then ln -s "$cargo_home/$part" "$again/cargo home/$part"; fi
done
zig=$PWD/target/tools
if [[ -d $zig && -z ${ZIG:-} ]]; then ZIG=$(tests/release/zig.sh "$zig") && export ZIG; fi
tools=$PWD/target/tools/bin

(
    cd "$again/some where/else"
    CARGO_HOME="$again/cargo home" CARGO_TARGET_DIR="$again/built" DIST="$again/dist" \
        PATH="$tools:$PATH" tests/release.sh
)
# With some targets only: what belongs to one of them.
wanted=.
if [[ -n ${TARGETS:-} ]]; then wanted=$(printf '%s\n' "$TARGETS" | tr -s ' ' '|'); fi
sums() { grep -E "$wanted" "$1/SHA256SUMS"; }
if diff <(sums "$first") <(sums "$again/dist") >&2; then
    say "both builds are the same: $(sums "$first" | wc -l) files, byte for byte"
else
    say "the two builds differ in the files above (< $first, > the second)"
    exit 1
fi
