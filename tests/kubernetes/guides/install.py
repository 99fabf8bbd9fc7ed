# SPDX-License-Identifier: Apache-2.0
"""The release of the tests: the guide's values, put in, changed and taken away."""

from cluster import NAMESPACE, ROOT, attested_agents, eventually, kubectl, node, server, spiffe_id

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


def registered():
    """The guide's release with its registrations."""
    guide()
    kubectl("apply", "-f", MANIFESTS / "guide-registration.yaml")


def remove_registered():
    kubectl("delete", "pods", "--all", "-n", "default", "--wait=true")
    kubectl("delete", "-f", MANIFESTS / "guide-registration.yaml")
    remove()


def attest_anew():
    """The agent is forgotten and has to attest once more."""
    server("agent", "evict", "-spiffeID", spiffe_id(attested_agents()[0]["id"]))
    kubectl("delete", "pod", "-n", NAMESPACE, "-l", "app=spire-agent")
    eventually("the agent attests", attested_agents)
