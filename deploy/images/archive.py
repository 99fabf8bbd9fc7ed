# SPDX-License-Identifier: Apache-2.0
"""Container images without a container tool: layers from folders, archives that `ctr images import`,
`docker load` and `podman load` take. Equal contents give equal bytes.

A layer is a dict of path in the image -> source: a pathlib.Path of a file here, bytes, Link, or Folder.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import platform
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclasses.dataclass(frozen=True)
class Link:
    target: str


@dataclasses.dataclass(frozen=True)
class Folder:
    mode: int = 0o755
    owner: int = 0


def layer_tar(contents):
    """The layer as bytes of a tar file: sorted, owned by root, without times."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(with_parents(contents)):
            source = contents.get(path, Folder())
            info = tarfile.TarInfo(path.lstrip("/"))
            info.mode = 0o644
            if isinstance(source, Link):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, source.target, 0o777
                tar.addfile(info)
            elif isinstance(source, Folder):
                info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, source.mode, source.owner, source.owner
                tar.addfile(info)
            else:
                if isinstance(source, pathlib.Path):
                    info.mode = 0o755 if os.access(source, os.X_OK) else 0o644
                    source = source.read_bytes()
                info.size = len(source)
                tar.addfile(info, io.BytesIO(source))
    return out.getvalue()


def with_parents(contents):
    paths = set(contents)
    for path in contents:
        paths.update(str(parent) for parent in pathlib.PurePosixPath(path).parents if str(parent) != "/")
    return paths


def write_archive(target, name, layers, config):
    """An archive of the image `name` (with tag); `layers` are tar bytes, lowest first; `config` is the
    `config` object of the image specification (Entrypoint, Env, User, WorkingDir)."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    document = {"architecture": ARCHITECTURE, "os": "linux", "created": "1970-01-01T00:00:00Z", "config": config,
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
                "history": [{"created": "1970-01-01T00:00:00Z"} for _ in layers]}
    text = json.dumps(document, sort_keys=True).encode()
    config_name = hashlib.sha256(text).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar" for digest in digests]}]
    with tarfile.open(target, "w") as tar:
        for member, data in [("manifest.json", json.dumps(manifest).encode()), (config_name, text),
                             *((f"{digest}.tar", layer) for digest, layer in zip(digests, layers))]:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
