# SPDX-License-Identifier: Apache-2.0
"""The release of the tests: the guide's values, put in, changed and taken away."""

from cluster import NAMESPACE, ROOT, kubectl, node

CHART = str(ROOT / "deploy/chart/spire")
VALUES = ROOT / "tests/kubernetes/chart/values"
MANIFESTS = ROOT / "tests/kubernetes/chart/manifests"


def helm(*arguments):
    return node("helm", *arguments)


def guide(*more):
    """Installs, or upgrades to, the guide's values and the files given."""
    files = [word for file in (VALUES / "guide.yaml", *more) for word in ("--values", str(file))]
    helm("upgrade", "--install", "spire", CHART, "--namespace", NAMESPACE, "--create-namespace", *files, "--wait",
         "--timeout", "120s")


def remove():
    """Takes everything away; fails when something hangs."""
    helm("uninstall", "spire", "--namespace", NAMESPACE, "--wait", "--timeout", "60s")
    kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s")
    kubectl("delete", "clusterspiffeids,clusterstaticentries,clusterfederatedtrustdomains", "--all")
