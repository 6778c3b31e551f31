#!/usr/bin/env bash
# The binary that is shipped: static, stripped, for x86_64 Linux of any distribution, in
# target/dist. Prints its size.
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=x86_64-unknown-linux-musl

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

command -v musl-gcc >/dev/null ||
    fail "musl-gcc is missing; it compiles the C parts (SQLite, ring). On Debian: apt-get install musl-tools"
if command -v rustup >/dev/null; then
    rustup target list --installed | grep -qx $TARGET || rustup target add $TARGET ||
        fail "Rust's standard library for $TARGET could not be fetched: rustup target add $TARGET"
elif [[ ! -d $(rustc --print sysroot)/lib/rustlib/$TARGET ]]; then
    fail "Rust's standard library for $TARGET is missing; get it with rustup, or from your distribution"
fi

# musl-gcc for C only: as the linker it makes a binary that is dynamic and does not start.
export CC_x86_64_unknown_linux_musl=musl-gcc
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=${CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER:-cc}
# At a fixed address: a binary that moves itself has its tables rewritten at each start, which costs
# every process, and every native workload has one of ours, some 200 KiB of its own.
#
# Without tables for unwinding: a panic aborts, so nobody reads them, and they were an eighth of the
# binary. They are left out when it is linked, since those of the standard library are built already.
export RUSTFLAGS="${RUSTFLAGS:-} -C relocation-model=static -C link-arg=-Wl,--no-eh-frame-hdr \
-C link-arg=-Wl,-T,$PWD/packaging/no-unwind-tables.ld"
cargo build --release --locked --target $TARGET

mkdir -p target/dist
out=target/dist/fleetctl
cp target/$TARGET/release/fleetctl $out
# One that needs a dynamic linker would start here and on no board.
headers=$(readelf -lW $out)
if grep -q INTERP <<<"$headers"; then fail "$out is not static"; fi
bytes=$(wc -c <$out)
printf '%s  %s bytes (%s MiB)\n' $out "$bytes" "$(awk -v b="$bytes" 'BEGIN { printf "%.2f", b / 1048576 }')"
