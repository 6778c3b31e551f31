#!/usr/bin/env bash
# What is in the binary of a target: its list of parts (CycloneDX, JSON), for tools that look for
# known holes and for licences.
#
#   tests/release/sbom.sh TARGET OUT
#   tests/release/sbom.sh --check      fetches the tool that writes it where that is missing
set -euo pipefail
cd "$(dirname "$0")/../.."
# Another version may write other bytes.
VERSION=0.5.9
build_dir=${CARGO_TARGET_DIR:-target}
tool=$build_dir/tools/bin/cargo-cyclonedx

say() { printf 'release: %s\n' "$*" >&2; }

for there in "$(command -v cargo-cyclonedx || true)" "$tool"; do
    if [[ -x $there && $("$there" cyclonedx --version 2>/dev/null) == *" $VERSION" ]]; then
        tool=$there
        found=1
        break
    fi
done
if [[ -z ${found:-} ]]; then
    say "building cargo-cyclonedx $VERSION, which writes the list of parts (once, some minutes)"
    mkdir -p "$build_dir/tools"
    log=$build_dir/tools/cyclonedx.log
    cargo install cargo-cyclonedx --version $VERSION --locked --root "$build_dir/tools" >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        say "cargo-cyclonedx could not be built: cargo install cargo-cyclonedx --version $VERSION --locked"
        exit 1
    }
fi
if [[ $1 == --check ]]; then exit 0; fi
target=$1 out=$2

# It writes beside Cargo.toml, under a name of ours.
name=fleetctl-sbom-$$
trap 'rm -f "$name.json"' EXIT
"$tool" cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps \
    --override-filename "$name"
# Our own package is named by the directory that it lies in: that is nobody's business, and differs.
sed -i -e "s|path+file://[^\"#]*#fleetctl@|fleetctl@|g" -e 's|?download_url=file://\.||g' "$name.json"
# A number of its own, the same for the same parts: the form of a UUID (version 8: own scheme).
sum=$(sha256sum "$name.json")
serial=${sum:0:8}-${sum:8:4}-8${sum:13:3}-8${sum:17:3}-${sum:20:12}
sed -i "s|^  \"bomFormat\": \"CycloneDX\",|&\n  \"serialNumber\": \"urn:uuid:$serial\",|" "$name.json"
grep -q '"serialNumber"' "$name.json" || { say "the list of parts has another form than expected"; exit 1; }
mkdir -p "$(dirname "$out")"
mv "$name.json" "$out"
