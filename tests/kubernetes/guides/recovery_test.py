#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever of ours, or of the node, ends and starts again, pods keep their identities and new ones
get theirs. Method: one pod that stands during all tests and asks for its identity, a new pod after each."""

import itertools
import unittest

import install
import timed
from cluster import EXAMPLES, NAMESPACE, account, apply, entries, eventually, get, identity, kubectl, node, pod, pod_named

LABELS = {"spiffe": "enabled"}
NUMBERS = itertools.count()


def restart_daemon(name):
    """Kills a daemon of the node and starts it as it was."""
    node("bash", "-c", f"""
        pid=$(cat /run/kubernetes/{name}.pid)
        mapfile -d '' command </proc/$pid/cmdline
        kill -KILL $pid
        while [ -d /proc/$pid ] && [ "$(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null)" != Z ]; do sleep 0.05; done
        setsid "${{command[@]}}" </dev/null >>/var/log/kubernetes/{name}.log 2>&1 &
        echo $! >/run/kubernetes/{name}.pid""")


def setUpModule():
    install.registered()
    apply(account("frontend"), pod("standing", EXAMPLES, LABELS, "frontend"))
    kubectl("wait", "--for=condition=ready", "pod/standing", "--timeout=60s")
    eventually("the first identity", lambda: identity("standing"))


def tearDownModule():
    install.remove_registered()


class Recovery(unittest.TestCase):
    def check(self):
        """The standing pod and a new one are served."""
        eventually("the standing pod is served", lambda: "sa/frontend\n" in identity("standing"))
        name = f"new-{next(NUMBERS)}"
        eventually("a new pod is taken", lambda: apply(pod(name, EXAMPLES, LABELS, "frontend")) or True)
        eventually("the new pod is served", lambda: "sa/frontend\n" in identity(name))
        kubectl("delete", "pod", name)
        eventually("its entry is gone", lambda: not [one for one in entries() if name in str(one["dns_names"])])

    def replaced(self, label):
        """Deletes the pod with this label and waits until its successor is ready."""
        old = pod_named(label, NAMESPACE)
        uid = get("pod", "-n", NAMESPACE, old)["metadata"]["uid"]
        kubectl("delete", "pod", "-n", NAMESPACE, old)

        def ready():
            found = [one for one in get("pods", "-n", NAMESPACE, "-l", label)["items"] if one["metadata"]["uid"] != uid]
            return found and all(state["ready"] for state in found[0]["status"]["containerStatuses"])
        eventually(f"another {label}", ready)

    def test_the_agent_is_deleted(self):
        self.replaced("app=spire-agent")
        self.check()

    def test_server_and_controller_manager_are_deleted(self):
        before = {one["id"] for one in entries()}
        self.replaced("app=spire-server")
        eventually("the entries are those of before", lambda: {one["id"] for one in entries()} == before)
        self.check()

    def test_the_csi_driver_is_deleted(self):
        self.replaced("app=spiffe-csi-driver")
        self.check()

    def test_everything_of_ours_is_deleted_at_once(self):
        kubectl("delete", "pods", "--all", "-n", NAMESPACE, "--wait=true")
        self.check()

    def test_the_kubelet_starts_again(self):
        restart_daemon("kubelet")
        self.check()

    def test_the_api_server_starts_again(self):
        restart_daemon("kube-apiserver")
        eventually("the API server is back", lambda: kubectl("get", "--raw", "/readyz") == "ok")
        self.check()

    def test_containerd_starts_again(self):
        restart_daemon("containerd")
        eventually("the node is ready", lambda: node("ctr", "version"))
        self.check()


if __name__ == "__main__":
    timed.main()
