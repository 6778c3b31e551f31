#!/usr/bin/env bash
# One binary of a release: static, stripped, the same bytes wherever it is built.
#
#   tests/release/compile.sh TARGET OUT     puts the binary of TARGET at OUT
#   tests/release/compile.sh TARGET --check says what is missing for that, and how to get it
#   SYMBOLS=1 tests/release/compile.sh …    with the names of its functions, for hot-functions.py
#
# Who builds what; rust-lld, which comes with Rust, links all of them:
#   x86_64-*-musl         C by musl-gcc, with Rust's own musl
#   aarch64-*-musl        C by zig (pinned, tests/release/zig.sh), with Rust's own musl. It would do for
#                         x86_64 too, but its SQLite is 150 KiB larger than gcc's.
#   armv7-*-gnueabihf     C by Debian's cross compiler, with its static glibc, since Rust has no musl
#                         for this target that could be fetched everywhere
#
# The same bytes: nothing of the directories, the clock or the machine gets in. Paths are mapped to
# fixed ones, for Rust by --remap-path-prefix, for C by -ffile-prefix-map. Flags with a path in them
# are part of the names of symbols, so what the linker needs is told to it by a script of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage='usage: tests/release/compile.sh TARGET OUT'
target=${1:?$usage} out=${2:?$usage}
# What a board's flash is promised.
LIMIT=$((14 * 1024 * 1024))

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || fail "cargo is missing; get Rust from https://rustup.rs (needs no root), rust-toolchain.toml chooses its version"
# Build scripts are linked for this machine.
command -v cc >/dev/null || fail "a C compiler is missing; on Debian: apt-get install gcc libc6-dev"
command -v readelf >/dev/null || fail "readelf is missing; on Debian: apt-get install binutils"
# Another version makes other bytes.
wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
[[ $(rustc --version) == "rustc $wanted "* ]] ||
    fail "releases are made with Rust $wanted, this is $(rustc --version): get it with rustup (https://rustup.rs, needs no root), and unset RUSTUP_TOOLCHAIN"
sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
build_dir=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$build_dir"
build_dir=$(cd "$build_dir" && pwd)
tools=$build_dir/tools
mkdir -p "$tools"

case $target in
x86_64-unknown-linux-musl | aarch64-unknown-linux-musl | armv7-unknown-linux-gnueabihf) ;;
*) fail "no release is made for $target: see the README's chapter \"Releases\"" ;;
esac
if command -v rustup >/dev/null; then
    rustup target list --installed | grep -qx "$target" || rustup target add "$target" ||
        fail "Rust's standard library for $target could not be fetched: rustup target add $target"
elif [[ ! -d $sysroot/lib/rustlib/$target ]]; then
    fail "Rust's standard library for $target is missing; get it with rustup (https://rustup.rs, needs no root), or from your distribution"
fi

# Each prefix that differs between two machines, and what stands for it.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
prefixes=("$PWD=/fleetctl" "$build_dir=/fleetctl/target" "$cargo_home=/cargo" "$sysroot=/rust")

# A compiler for the C parts (SQLite, ring) that maps the paths: as a script, so that a directory
# with a space in its name is no trouble. The target is chosen here, not by who calls it.
c_compiler() {
    local map words
    words=("$@" -g0)
    for map in "${prefixes[@]}"; do words+=("-ffile-prefix-map=$map"); done
    {
        printf '#!/usr/bin/env bash\nargs=()\n'
        # shellcheck disable=SC2016
        printf 'for a in "$@"; do case $a in --target=*) ;; *) args+=("$a") ;; esac; done\n'
        printf 'exec'; printf ' %q' "${words[@]}"; printf ' "${args[@]}"\n'
    } >"$tools/$target-cc.new"
    chmod 755 "$tools/$target-cc.new"
    mv "$tools/$target-cc.new" "$tools/$target-cc"
}

# The linker as a script, with what holds for every target:
#   without tables for unwinding: a panic aborts, so nobody reads them, and they were an eighth of the
#     binary. They are left out when it is linked, since those of the standard library are built already;
#   functions with the same code are one (--icf);
#   those that an agent at rest needs stand side by side: the kernel maps code in pieces of 64 KiB, and
#     strewn over the binary they cost it 5 MiB of memory. They are known by names without the hashes
#     that each build has of its own (packaging/hot-functions.txt), so it is linked twice: the first
#     time says how they are called here.
link_with() {
    local said=$1 flag common=() second=()
    shift
    for flag in --no-eh-frame-hdr --build-id=none "--script=$PWD/packaging/no-unwind-tables.ld"; do
        common+=("$said$flag")
    done
    for flag in --icf=all "--symbol-ordering-file=$tools/$target.order" --no-warn-symbol-ordering; do
        second+=("$said$flag")
    done
    {
        printf '#!/bin/sh\nset -e\n'
        printf '%q ' "$@"; printf '"$@"'; printf ' %q' "${common[@]}" "$said--no-demangle" "$said-Map=$tools/$target.map"
        printf "\nawk -f %q %q %q >%q\n" "$PWD/tests/release/hot-functions.awk" "$PWD/packaging/hot-functions.txt" \
            "$tools/$target.map" "$tools/$target.order"
        printf '%q ' "$@"; printf '"$@"'; printf ' %q' "${common[@]}" "${second[@]}"; echo
    } >"$tools/$target-ld.new"
    chmod 755 "$tools/$target-ld.new"
    mv "$tools/$target-ld.new" "$tools/$target-ld"
}
lld=$sysroot/lib/rustlib/$host/bin
[[ -x $lld/rust-lld && -x $lld/gcc-ld/ld.lld ]] ||
    fail "rust-lld is missing: it comes with a Rust from rustup (https://rustup.rs, needs no root)"

# At a fixed address: a binary that moves itself has its tables rewritten at each start, which costs
# every process, and every native workload has one of ours, some 200 KiB of its own.
# Names of functions say which types they are for, so that those of the list are found again.
flags=(-C relocation-model=static -C symbol-mangling-version=v0)
case $target in
x86_64-unknown-linux-musl)
    archiver="ar"
    command -v musl-gcc >/dev/null ||
        fail "musl-gcc is missing; it compiles the C parts (SQLite, ring). On Debian: apt-get install musl-tools
       (without root: apt-get download musl-tools musl-dev musl and dpkg-deb -x each, or build in a container of Debian)"
    c_compiler musl-gcc
    link_with '' "$lld/rust-lld"
    # What repeats in the code is there once, as LLVM does on ARM by itself: a fifteenth of the binary.
    flags+=(-C linker-flavor=ld.lld -C link-self-contained=yes -C llvm-args=-enable-machine-outliner=always)
    ;;
aarch64-unknown-linux-musl)
    zig=$(tests/release/zig.sh "$tools")
    export ZIG_GLOBAL_CACHE_DIR=$tools/zig-cache ZIG_LOCAL_CACHE_DIR=$tools/zig-cache
    c_compiler "$zig" cc -target "${target%%-*}-linux-musl"
    printf '#!/bin/sh\nexec %q ar "$@"\n' "$zig" >"$tools/$target-ar"
    chmod 755 "$tools/$target-ar"
    archiver=$tools/$target-ar
    link_with '' "$lld/rust-lld"
    flags+=(-C linker-flavor=ld.lld -C link-self-contained=yes)
    ;;
armv7-unknown-linux-gnueabihf)
    gcc=arm-linux-gnueabihf-gcc archiver=arm-linux-gnueabihf-ar
    command -v $gcc >/dev/null ||
        fail "$gcc is missing; on Debian: apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
       (without root: build in a container of Debian, or leave the target out: make release TARGETS=x86_64-unknown-linux-musl)"
    [[ -e $($gcc -print-file-name=libc.a) ]] ||
        fail "the static C library for $target is missing; on Debian: apt-get install libc6-dev-armhf-cross"
    c_compiler $gcc
    # Where the tables for unwinding would be, which the C library asks for.
    link_with -Wl, "$gcc" "-B$lld/gcc-ld" -fuse-ld=lld -Wl,--defsym=__exidx_start=0 -Wl,--defsym=__exidx_end=0
    # The short form of its instructions, as in all of Debian's programs for it: a quarter smaller.
    flags+=(-C linker-flavor=gcc -C "target-feature=+crt-static,+thumb-mode")
    ;;
esac
if [[ $out == --check ]]; then exit 0; fi
if [[ -n ${SYMBOLS:-} ]]; then flags+=(-C strip=none); fi
for map in "${prefixes[@]}"; do flags+=("--remap-path-prefix=$map"); done

name=${target//-/_}
export "CC_$name=$tools/$target-cc" "AR_$name=$archiver" "CARGO_TARGET_${name^^}_LINKER=$tools/$target-ld"
# What the caller's shell says of flags would change the bytes.
unset RUSTFLAGS CFLAGS "CFLAGS_$name"
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS
cargo build --release --locked --target "$target" --target-dir "$build_dir"

mkdir -p "$(dirname "$out")"
cp --remove-destination "$build_dir/$target/release/fleetctl" "$out"

# Looked at once more here: a mistake in what is above would be seen on a board only.
if [[ -n ${SYMBOLS:-} ]]; then exit 0; fi
headers=$(readelf -lSW "$out")
# One that needs a dynamic linker would start here and on no board.
if grep -q INTERP <<<"$headers"; then fail "$out is not static"; fi
if grep -qE '\.(symtab|debug_info)' <<<"$headers"; then fail "$out is not stripped"; fi
for map in "${prefixes[@]}"; do
    if LC_ALL=C grep -qaF "${map%=*}/" "$out"; then
        fail "$out has a path of this machine in it (${map%=*}/): it cannot be built again elsewhere"
    fi
done
bytes=$(wc -c <"$out")
((bytes <= LIMIT)) || fail "$out has $bytes bytes; at most $LIMIT (14 MiB) are promised"
