#!/usr/bin/env bash
# The packages of a release, from its tarballs:
#
#   tests/release/packages.sh DIST VERSION
#
#   DIST/fleetctl-VERSION-TARGET.tar.gz  ──►  DIST/fleetctl_VERSION_ARCH.deb      for Debian, each target
#                                        ──►  DIST/fleetctl-VERSION-oci-ARCH.tar  a container image, each target
#                                        ──►  DIST/fleetctl-VERSION-oci.tar       all of them as one image
#
# Targets whose tarball is not there are left out. No container engine is needed, and no root.
set -euo pipefail
dist=$(realpath "${1:?usage: tests/release/packages.sh DIST VERSION}") version=${2:?usage: tests/release/packages.sh DIST VERSION}
cd "$(dirname "$0")/../.."
# Target, Debian's name of its architecture, that of images.
TARGETS=("x86_64-unknown-linux-musl amd64 amd64"
    "aarch64-unknown-linux-musl arm64 arm64"
    "armv7-unknown-linux-gnueabihf armhf arm")

say() { printf 'packages: %s\n' "$*" >&2; }

missing=()
for program in dpkg-deb:dpkg python3:python3 gzip:gzip tar:tar; do
    command -v "${program%:*}" >/dev/null || missing+=("${program#*:}")
done
if ((${#missing[@]})); then
    say "missing: ${missing[*]}; on Debian: apt-get install ${missing[*]} (dpkg-deb is packaged elsewhere too, as dpkg)"
    exit 1
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || true)}
: "${SOURCE_DATE_EPOCH:?the time of the release, seconds since 1970: there is no git commit to take it from}"
export SOURCE_DATE_EPOCH
# 1.2.0-rc.1 is older than 1.2.0: dpkg says so with a tilde.
debian_version=${version/-/\~}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
images=()
for line in "${TARGETS[@]}"; do
    read -r target deb image <<<"$line"
    tarball=$dist/fleetctl-$version-$target.tar.gz
    [[ -e $tarball ]] || continue
    tar -xzf "$tarball" -C "$work"
    tree=$work/fleetctl-$version-$target
    tests/release/deb.sh "$tree" "$deb" "$debian_version" "$dist/fleetctl_${debian_version}_$deb.deb"
    tests/release/oci.py "$dist/fleetctl-$version-oci-$image.tar" "$version" "$SOURCE_DATE_EPOCH" "$image=$tree/fleetctl"
    images+=("$image=$tree/fleetctl")
done
if ((${#images[@]} == 0)); then
    say "no tarball of $version is in $dist; \`make release\` makes them"
    exit 1
fi
tests/release/oci.py "$dist/fleetctl-$version-oci.tar" "$version" "$SOURCE_DATE_EPOCH" "${images[@]}"
