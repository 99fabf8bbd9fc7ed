#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: deploy/manifests/render.py [--check] [--helm HELM]

Writes the plain manifests beside it: what the chart spire renders with the settings below, without Helm's own
labels, a file for each component. With --check, says which of them is not up to date.
"""

import argparse
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE.parent / "chart/spire"
NAMESPACE = "spire"
SETTINGS = ("global.spire.trustDomain=example.org", "spire-server.federation.enabled=true",
            "spire-agent.socketPath=/run/spire/sockets/spire-agent.sock")
FILES = {"agent": "spire-agent", "csi": "spiffe-csi-driver", "oidc": "spiffe-oidc-discovery-provider",
         "server": "spire-server", "server-config": "spire-server", "server-rbac": "spire-server",
         "controller": "spire-controller-manager"}
HELMS_LINES = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart|checksum/config): .*\n", re.M)
HEAD = "# SPDX-License-Identifier: Apache-2.0\n#\n# Made by deploy/manifests/render.py from the chart.\n"
NAMESPACE_TEXT = f"""{HEAD}---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    name: {NAMESPACE}
    # The agent sees the node's processes, and the CSI driver mounts into pods.
    pod-security.kubernetes.io/enforce: privileged
"""


def manifests(helm):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    done = subprocess.run([helm, "template", "spire", CHART, "--namespace", NAMESPACE, *settings],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    texts = {"namespace.yaml": NAMESPACE_TEXT}
    for part in done.stdout.split("---\n# Source: ")[1:]:
        source, body = part.split("\n", 1)
        if "helm.sh/hook" in body:
            continue
        name = FILES[pathlib.Path(source).stem] + ".yaml"
        texts[name] = texts.get(name, HEAD) + "---\n" + HELMS_LINES.sub("", body)
    for path in sorted((CHART / "crds").iterdir()):
        texts[f"crds/{path.name}"] = path.read_text()
    return texts


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--helm", default="helm")
    options = parser.parse_args()
    texts = manifests(options.helm)
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*.yaml")}
    stale = sorted(name for name, text in texts.items() if name not in there or (HERE / name).read_text() != text)
    extra = sorted(there - texts.keys())
    if options.check:
        for name in stale + extra:
            print(f"deploy/manifests/{name} is not what render.py writes")
        sys.exit(bool(stale or extra))
    (HERE / "crds").mkdir(exist_ok=True)
    for name in stale:
        (HERE / name).write_text(texts[name])
        print(name)
    for name in extra:
        (HERE / name).unlink()


if __name__ == "__main__":
    main()
