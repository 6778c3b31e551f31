#!/usr/bin/env bash
# The tarball of one target: the binary, and what a person needs who has nothing else.
#
#   tests/release/tarball.sh DIST VERSION TARGET
#
# DIST/tree has the binary of the target and `share` (manual pages, completions).
set -euo pipefail
dist=${1:?} version=${2:?} target=${3:?}
cd "$(dirname "$0")/../.."
name=fleetctl-$version-$target
tree=$dist/tree/$name

mkdir -p "$tree/config" "$tree/systemd"
cp LICENSE CHANGELOG.md packaging/INSTALL "$tree/"
cp config/*.toml "$tree/config/"
cp packaging/*.service "$tree/systemd/"
# Directories of what is beside a unit (boards without systemd, what a unit calls), as they are there.
for file in packaging/*.openrc packaging/*.confd packaging/openrc; do
    if [[ -e $file ]]; then
        mkdir -p "$tree/openrc"
        if [[ -d $file ]]; then cp -r "$file/." "$tree/openrc/"; else cp "$file" "$tree/openrc/"; fi
    fi
done
cp -r "$dist/tree/share/." "$tree/"

# Whoever builds it: the same names in the same order, of nobody, as old as the commit.
find "$tree" -type d -exec chmod 755 {} +
find "$tree" -type f -exec chmod 644 {} +
chmod 755 "$tree/fleetctl"
if [[ -d $tree/openrc ]]; then
    for file in "$tree"/openrc/*; do
        # Only scripts are started.
        if [[ -f $file && $(head -c 2 "$file") == '#!' ]]; then chmod 755 "$file"; fi
    done
fi
tar --create --directory "$dist/tree" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
    --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip --best --no-name >"$dist/$name.tar.gz"
