#!/usr/bin/env bash
# The Debian package of one architecture, from an unpacked tarball of a release:
#
#   tests/release/deb.sh TREE ARCH VERSION OUT     ARCH: amd64, arm64, armhf
#
# It depends on nothing: the binary is static. Its maintainer scripts are in packaging/debian. The same
# tree and SOURCE_DATE_EPOCH give the same bytes.
set -euo pipefail
tree=$(realpath "${1:?usage: tests/release/deb.sh TREE ARCH VERSION OUT}") arch=${2:?} version=${3:?} out=$(realpath -m "${4:?}")
: "${SOURCE_DATE_EPOCH:?the time that everything in the package has, seconds since 1970}"
export SOURCE_DATE_EPOCH
cd "$(dirname "$0")/../.."
umask 022

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
doc=$root/usr/share/doc/fleetctl
mkdir -p "$root"/{DEBIAN,etc/fleetctl,usr/lib/systemd/system,usr/share/man/man1} "$doc/examples" \
    "$root"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d,lintian/overrides}

install -Dm 755 "$tree/fleetctl" "$root/usr/bin/fleetctl"
for unit in "$tree"/systemd/*; do
    name=$(basename "$unit")
    [[ -f $unit ]] || continue
    case $name in
        *.service)
            sed 's|/usr/local/bin/fleetctl|/usr/bin/fleetctl|g' "$unit" >"$root/usr/lib/systemd/system/$name"
            ;;
        *.sysusers | sysusers.conf) install -Dm 644 "$unit" "$root/usr/lib/sysusers.d/fleetctl.conf" ;;
        *) install -m 644 "$unit" "$root/usr/lib/systemd/system/$name" ;;
    esac
done
cp "$tree"/config/*.toml "$root/etc/fleetctl/"
(cd "$root" && find etc -type f | LC_ALL=C sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"

for page in "$tree"/man/man1/*.1; do
    gzip --best --no-name --stdout "$page" >"$root/usr/share/man/man1/$(basename "$page").gz"
done
cp "$tree/completions/bash/fleetctl" "$root/usr/share/bash-completion/completions/fleetctl"
cp "$tree/completions/zsh/_fleetctl" "$root/usr/share/zsh/vendor-completions/_fleetctl"
cp "$tree/completions/fish/fleetctl.fish" "$root/usr/share/fish/vendor_completions.d/fleetctl.fish"

# Scripts of OpenRC are none of Debian's init scripts: they are for boards without systemd.
if [[ -d $tree/openrc ]]; then cp -r "$tree/openrc" "$doc/examples/openrc"; fi
cp examples/*.toml packaging/compose.yaml packaging/systemd-*.conf "$doc/examples/"
gzip --best --no-name <"$tree/CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
date=$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
gzip --best --no-name >"$doc/changelog.gz" <<TEXT
fleetctl ($version) stable; urgency=medium

  * Release $version; what is new is in CHANGELOG.md.

 -- The fleetctl maintainers <maintainers@fleetctl.invalid>  $date
TEXT
cat >"$doc/copyright" <<'TEXT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: fleetctl
Comment: The program contains libraries under the licences Apache-2.0, MIT, BSD, ISC, Zlib, CC0-1.0
 and Unicode-3.0, and SQLite, which is in the public domain. The SBOM of the release, beside this
 package, names each with its version and licence.

Files: *
Copyright: The fleetctl contributors
License: Apache-2.0

License: Apache-2.0
 On Debian systems, the complete text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
TEXT
cp packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/fleetctl"
install -m 755 packaging/debian/{preinst,postinst,prerm,postrm} "$root/DEBIAN/"

find "$root" -type d -exec chmod 755 {} +
find "$root/usr/share" "$root/etc" "$root/usr/lib" -type f -exec chmod 644 {} +
if [[ -d $doc/examples/openrc ]]; then find "$doc/examples/openrc" -type f -exec chmod 644 {} +; fi
size=$(find "$root" -path "$root/DEBIAN" -prune -o -type f -printf '%s\n' | awk '{ k += int(($1 + 1023) / 1024) } END { print k }')
cat >"$root/DEBIAN/control" <<TEXT
Package: fleetctl
Version: $version
Architecture: $arch
Maintainer: The fleetctl maintainers <maintainers@fleetctl.invalid>
Installed-Size: $size
Recommends: ca-certificates
Suggests: docker.io | podman
Section: admin
Priority: optional
Description: manage a fleet of small Linux machines
 A controller says what must run on 3 to 10,000 boards, and an agent on each of
 them makes it so and keeps it so, also while the controller and the network are
 away. Workloads are containers of Docker or Podman, and native programs.
 .
 This package has the one program for all roles, units for systemd, manual pages
 and completions for shells. No role is started by itself before it was told to
 which fleet it belongs.
TEXT
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
    >"$root/DEBIAN/md5sums"
chmod 644 "$root"/DEBIAN/{control,conffiles,md5sums}
# All as old as the release, also the directories.
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
# xz of one thread, since the number of threads changes the bytes.
dpkg-deb --root-owner-group --threads-max=1 -Zxz -b "$root" "$out" >/dev/null
