#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the guide's NetworkPolicy and the chart's own let through what an identity needs, and keep strangers
out. Method: a cluster that enforces policies; under each policy an agent attests anew, a pod gets its
identity, the webhook is asked; a pod without a role tries the ports."""

import json
import unittest

import install
import timed
from cluster import EXAMPLES, NAMESPACE, account, apply, eventually, get, identity, kubectl, pod, pod_named, refused
from install import MANIFESTS

SERVER_HOST = "spire-server.spire-system"


def reaches(host, port):
    """Does the stranger's connection stand?"""
    done = kubectl("exec", "stranger", "--", "sh", "-c", f"nc -w 3 {host} {port} </dev/null", check=False)
    if done.returncode != 0 and "can't connect" not in done.stderr:
        raise AssertionError(done.stderr)
    return done.returncode == 0


def address_of(label):
    return get("pod", "-n", NAMESPACE, pod_named(label, NAMESPACE))["status"]["podIP"]


def setUpModule():
    install.registered()
    stranger = pod("stranger", "localhost/busybox:1", command=("sleep", "infinity"))
    apply(account("frontend"), stranger)
    kubectl("wait", "--for=condition=ready", "pod/stranger", "--timeout=60s")


def tearDownModule():
    install.remove_registered()


class Policies(unittest.TestCase):
    def check_that_all_works(self):
        install.attest_anew()
        apply(pod("web", EXAMPLES, {"spiffe": "enabled"}, "frontend"))
        eventually("the identity", lambda: "sa/frontend\n" in identity("web"))
        kubectl("delete", "pod", "web")
        said = refused("apply", "-f", "-", text=json.dumps({
            "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": "bad"},
            "spec": {"spiffeIDTemplate": "spiffe://{{ .TrustDomain"}}))
        self.assertIn("spiffeIDTemplate", said)

    def test_A34_the_guides_policy_is_sufficient_and_keeps_strangers_from_the_server(self):
        self.assertTrue(reaches(SERVER_HOST, 8081))
        kubectl("apply", "-f", MANIFESTS / "guide-hardening.yaml")
        try:
            eventually("the policy is in force", lambda: not reaches(SERVER_HOST, 8081))
            # As docs/kubernetes.md says: it names one port.
            self.assertFalse(reaches(SERVER_HOST, 9988))
            self.check_that_all_works()
        finally:
            kubectl("delete", "-f", MANIFESTS / "guide-hardening.yaml")
        eventually("the way is open again", lambda: reaches(SERVER_HOST, 8081))

    def test_the_charts_policies_let_through_what_each_part_serves_to_others(self):
        self.assertTrue(reaches(address_of("app=spire-agent"), 9982))
        install.guide(install.VALUES / "policies.yaml")
        try:
            eventually("the policies are in force", lambda: not reaches(SERVER_HOST, 8081))
            self.assertTrue(reaches(SERVER_HOST, 8443), "the bundle endpoint")
            self.assertTrue(reaches(SERVER_HOST, 9988), "the server's metrics")
            self.assertTrue(reaches("spiffe-oidc-discovery-provider.spire-system", 443))
            agent = address_of("app=spire-agent")
            self.assertTrue(reaches(agent, 9988), "the agent's metrics")
            self.assertFalse(reaches(agent, 9982), "the agent's health page is the kubelet's")
            self.check_that_all_works()
            install.helm("test", "spire", "--namespace", NAMESPACE, "--timeout", "60s")
        finally:
            install.guide()
        eventually("the way is open again", lambda: reaches(SERVER_HOST, 8081))


if __name__ == "__main__":
    timed.main()
