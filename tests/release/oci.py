#!/usr/bin/env python3
"""The container image of a release: the binary and nothing else, made without a container engine.

    tests/release/oci.py OUT VERSION EPOCH ARCH=BINARY...      ARCH: amd64, arm64, arm

OUT is a tar that holds the image twice, around the same blobs: as an OCI layout (oci-layout,
index.json), with an index over all architectures where there are several, and as the archive of
`docker load` (manifest.json), since Docker's own store reads no OCI layout. Tags of that archive
cannot depend on who reads it: with several architectures each has its own, `fleetctl:VERSION-ARCH`.

The same binaries, version and EPOCH (seconds since 1970, of every time in it) give the same bytes.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import time

OCI = "application/vnd.oci.image."
# How each architecture is written in an image; boards of `arm` are those with ARMv7 and floats.
PLATFORMS = {
    "amd64": {"architecture": "amd64", "os": "linux"},
    "arm64": {"architecture": "arm64", "os": "linux"},
    "arm": {"architecture": "arm", "os": "linux", "variant": "v7"},
}


def entry(name, epoch, size=None, mode=0o644):
    """A file, or a directory without a size, that belongs to root."""
    info = tarfile.TarInfo(name)
    info.mtime = epoch
    if size is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size, info.mode = size, mode
    return info


class Blobs:
    """Contents by their SHA-256, as they lie in blobs/sha256."""

    def __init__(self):
        self.all = {}

    def add(self, content, kind):
        """Keeps `content`; returns what refers to it."""
        digest = hashlib.sha256(content).hexdigest()
        self.all[digest] = content
        return {"mediaType": OCI + kind, "digest": "sha256:" + digest, "size": len(content)}

    def add_json(self, document, kind):
        return self.add(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), kind)


def layer_of(binary, epoch):
    """A layer with the one file, uncompressed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(entry("fleetctl", epoch, len(binary), 0o755), io.BytesIO(binary))
    return out.getvalue()


def add_image(blobs, arch, binary, version, epoch):
    """Adds the image of one architecture; returns what refers to its manifest, config and layer."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    labels = {
        "org.opencontainers.image.title": "fleetctl",
        "org.opencontainers.image.description": "Turns a drawer of small Linux machines into a managed fleet",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": created,
    }
    plain = layer_of(binary, epoch)
    layer = blobs.add(gzip.compress(plain, 9, mtime=0), "layer.v1.tar+gzip")
    config = blobs.add_json(
        {
            **PLATFORMS[arch],
            "created": created,
            # PATH, so that `docker exec CONTAINER fleetctl …` finds it.
            "config": {"Entrypoint": ["/fleetctl"], "Env": ["PATH=/"], "WorkingDir": "/", "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
            "history": [{"created": created, "created_by": "fleetctl"}],
        },
        "config.v1+json",
    )
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                "layers": [layer], "annotations": labels}
    return blobs.add_json(manifest, "manifest.v1+json"), config, layer


def path_of(reference):
    return "blobs/sha256/" + reference["digest"].removeprefix("sha256:")


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    out, version, epoch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    binaries = dict(word.split("=", 1) for word in sys.argv[4:])
    unknown = sorted(set(binaries) - set(PLATFORMS))
    if unknown:
        sys.exit(f"oci.py: no image is made for {', '.join(unknown)}; there are {', '.join(PLATFORMS)}")
    blobs, manifests, archive = Blobs(), [], []
    for arch, path in sorted(binaries.items()):
        with open(path, "rb") as file:
            manifest, config, layer = add_image(blobs, arch, file.read(), version, epoch)
        manifests.append({**manifest, "platform": PLATFORMS[arch]})
        tag = f"fleetctl:{version}" + (f"-{arch}" if len(binaries) > 1 else "")
        archive.append({"Config": path_of(config), "RepoTags": [tag], "Layers": [path_of(layer)]})
    top = manifests[0]
    if len(manifests) > 1:
        top = blobs.add_json(
            {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests}, "index.v1+json")
    # The name for Docker and Podman, and the tag alone as the specification has it.
    names = {"io.containerd.image.name": f"docker.io/library/fleetctl:{version}",
             "org.opencontainers.image.ref.name": version}
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [{**top, "annotations": names}]}
    files = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index, "manifest.json": archive}
    files = {name: json.dumps(value, sort_keys=True).encode() for name, value in files.items()}
    files.update((f"blobs/sha256/{digest}", content) for digest, content in blobs.all.items())
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("blobs", "blobs/sha256"):
            tar.addfile(entry(name, epoch))
        for name in sorted(files):
            tar.addfile(entry(name, epoch, len(files[name])), io.BytesIO(files[name]))


if __name__ == "__main__":
    main()
