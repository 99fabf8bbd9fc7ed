#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: deploy/images/build.py [--out FOLDER] [--prefix localhost/] [IMAGE...]

Packs the programs of build/bin into container images, one archive each, offline: the libraries that
they need come from this machine (Debian 12), in one layer that all images share. Without shells and
package managers; what a guide calls inside (curl in the server's) is there.
"""

import argparse
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys

import archive

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build/bin"
VERSION = "1.15.3"
USER = "1000:1000"


@dataclasses.dataclass(frozen=True)
class Image:
    programs: tuple
    folder: str = "/opt/spire/bin"
    arguments: tuple = ()
    tools: tuple = ()  # of this machine, with their libraries
    user: str = USER


IMAGES = {
    "spire-server": Image(("spire-server",), arguments=("run",), tools=("curl",)),
    # Reading other users' processes and making sockets for them takes root.
    "spire-agent": Image(("spire-agent",), arguments=("run",), user="0:0"),
    "spire-controller-manager": Image(("spire-controller-manager",)),
    "spiffe-csi-driver": Image(("spiffe-csi-driver",), user="0:0"),  # mounts
    "spiffe-helper": Image(("spiffe-helper",)),
    "oidc-discovery-provider": Image(("oidc-discovery-provider",)),
    "spire-examples": Image(("spiffe-workload",), folder="/opt/spire-examples"),
}


def libraries(program):
    """The shared libraries that the loader would take, by the path where it looks."""
    text = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    if "not found" in text:
        sys.exit(f"{program}: a library is missing:\n{text}")
    return {path: pathlib.Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", text)}


def base_layer(programs):
    """What every image has: all libraries of the shipped programs, certificates, users, folders."""
    layer = {
        "/etc/passwd": b"root:x:0:0:root:/root:/sbin/nologin\nspire:x:1000:1000::/opt/spire:/sbin/nologin\n",
        "/etc/group": b"root:x:0:\nspire:x:1000:\n",
        "/etc/nsswitch.conf": b"hosts: files dns\n",
        "/tmp": archive.Folder(0o1777),
        "/opt/spire": archive.Folder(owner=1000),
        "/lib64": archive.Link("usr/lib64"),
        "/lib": archive.Link("usr/lib"),
    }
    for program in programs:
        layer.update(usr_paths(libraries(program)))
    # Loaded by name where a configuration asks for outgoing HTTPS (lib/http).
    curl = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/libcurl.so.4"))), None) or sys.exit(
        "libcurl.so.4 is not installed; ./dev setup")
    layer[str(curl)] = curl.resolve()
    layer.update(usr_paths(libraries(curl)))
    # OpenSSL and libcurl look for these by themselves.
    layer["/etc/ssl/certs/ca-certificates.crt"] = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    layer["/etc/ssl/openssl.cnf"] = pathlib.Path("/etc/ssl/openssl.cnf").resolve()
    return layer


def usr_paths(files):
    """/lib and /lib64 are links into /usr on a merged system."""
    return {re.sub(r"^/(lib(?:64)?)/", r"/usr/\1/", path): source for path, source in files.items()}


def own_layer(image):
    layer = {}
    for program in image.programs:
        layer[f"{image.folder}/{program}"] = BIN / program
    for tool in image.tools:
        path = shutil.which(tool) or sys.exit(f"{tool} is not installed; ./dev setup")
        layer[f"/usr/bin/{tool}"] = pathlib.Path(path).resolve()
        layer.update(usr_paths(libraries(path)))
    return layer


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/images")
    parser.add_argument("--prefix", default="localhost/")
    parser.add_argument("images", nargs="*", default=[])
    options = parser.parse_args()
    unknown = [name for name in options.images if name not in IMAGES]
    if unknown:
        sys.exit(f"no image {unknown[0]!r}; there are {', '.join(IMAGES)}")
    missing = [program for image in IMAGES.values() for program in image.programs if not (BIN / program).exists()]
    if missing:
        sys.exit(f"{missing[0]} is not built; ./dev build")
    options.out.mkdir(parents=True, exist_ok=True)
    base = base_layer([BIN / program for image in IMAGES.values() for program in image.programs])
    base_tar = archive.layer_tar(base)
    for name in options.images or IMAGES:
        image = IMAGES[name]
        own = archive.layer_tar({path: source for path, source in own_layer(image).items() if path not in base})
        target = options.out / f"{name}.tar"
        archive.write_archive(target, f"{options.prefix}{name}:{VERSION}", [base_tar, own], {
            "Entrypoint": [f"{image.folder}/{image.programs[0]}"], "Cmd": list(image.arguments), "User": image.user,
            "Env": [f"PATH={image.folder}:/usr/bin"], "WorkingDir": "/opt/spire"})
        print(f"{target}  {(len(base_tar) + len(own)) / 2**20:.1f} MiB, {len(own) / 2**20:.1f} of its own")


if __name__ == "__main__":
    main()
