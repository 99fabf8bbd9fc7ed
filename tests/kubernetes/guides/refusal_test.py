#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: bad resources, values and manifests are refused with an error that names the field."""

import json
import unittest

import install
import timed
from cluster import apply, eventually, get, kubectl, node, pod, refused

GROUP = "spire.spiffe.io/v1alpha1"
TEMPLATE = "spiffe://{{ .TrustDomain }}/x"


def resource(kind, **spec):
    return json.dumps({"apiVersion": GROUP, "kind": kind, "metadata": {"name": "bad"}, "spec": spec})


def setUpModule():
    install.guide()


def tearDownModule():
    install.remove()


class Refusals(unittest.TestCase):
    def error(self, text):
        return refused("apply", "-f", "-", text=text)

    def test_templates_that_do_not_parse_or_render(self):
        for spec, words in (
                ({"spiffeIDTemplate": "spiffe://{{ .TrustDomain"}, ("spiffeIDTemplate", "unclosed action")),
                ({"spiffeIDTemplate": TEMPLATE, "dnsNameTemplates": ["{{ nothing }}"]}, ("dnsNameTemplate", "nothing")),
                ({"spiffeIDTemplate": TEMPLATE, "workloadSelectorTemplates": ["{{ end }}"]},
                 ("workloadSelectorTemplate", "end")),
                ({"spiffeIDTemplate": TEMPLATE, "federatesWith": ["Not A Domain"]}, ("federatesWith",)),
                ({}, ("spec.spiffeIDTemplate", "Required"))):
            with self.subTest(spec=spec):
                said = self.error(resource("ClusterSPIFFEID", **spec))
                for word in words:
                    self.assertIn(word, said)

    def test_values_of_the_wrong_kind(self):
        for field, value in (("ttl", True), ("podSelector", "x"), ("namespaceSelector", {"matchLabels": {"a": 1}}),
                             ("federatesWith", "x"), ("admin", "yes")):
            with self.subTest(field=field):
                self.assertIn(f"spec.{field}", self.error(resource("ClusterSPIFFEID", spiffeIDTemplate=TEMPLATE, **{field: value})))

    def test_unknown_fields(self):
        said = refused("apply", "--validate=strict", "-f", "-",
                       text=resource("ClusterSPIFFEID", spiffeIDTemplate=TEMPLATE, spiffeIdTemplate="x"))
        self.assertIn("spec.spiffeIdTemplate", said)

    def test_federated_trust_domains(self):
        profile = {"type": "https_spiffe", "endpointSPIFFEID": "spiffe://other.test/server"}
        for spec, word in (
                ({"trustDomain": "other.test", "bundleEndpointURL": "http://x", "bundleEndpointProfile": profile},
                 "spec.bundleEndpointURL"),
                ({"trustDomain": "other.test", "bundleEndpointURL": "https://x", "bundleEndpointProfile": {"type": "other"}},
                 "spec.bundleEndpointProfile.type"),
                ({"trustDomain": "other.test", "bundleEndpointURL": "https://x", "bundleEndpointProfile": {"type": "https_spiffe"}},
                 "endpointSPIFFEID"),
                ({"trustDomain": "other.test", "bundleEndpointURL": "https://x", "bundleEndpointProfile": profile,
                  "trustDomainBundle": "no"}, "trustDomainBundle")):
            with self.subTest(spec=spec):
                self.assertIn(word, self.error(resource("ClusterFederatedTrustDomain", **spec)))

    def test_what_only_a_pod_shows_is_in_the_status_and_names_the_pod(self):
        kubectl("apply", "-f", "-", text=resource("ClusterSPIFFEID", spiffeIDTemplate="spiffe://elsewhere.test/x",
                                                  podSelector={"matchLabels": {"odd": "yes"}}))
        apply(pod("odd", "localhost/busybox:1", {"odd": "yes"}, command=("sleep", "infinity")))

        def told():
            conditions = get("clusterspiffeid", "bad")["status"]["conditions"]
            return [one for one in conditions if one["status"] == "False" and "default/odd" in one["message"]]
        eventually("a condition names the pod", told)
        eventually("an event names the pod", lambda: [
            one for one in get("events", "-A")["items"]
            if one["involvedObject"]["name"] == "bad" and "default/odd" in one["message"]])
        kubectl("delete", "clusterspiffeid", "bad")
        kubectl("delete", "pod", "odd")

    def test_a_volume_that_may_be_written_does_not_start(self):
        bad = pod("writes", "localhost/busybox:1", command=("sleep", "infinity"))
        bad["spec"]["volumes"][0]["csi"]["readOnly"] = False
        apply(bad)
        eventually("an event says why", lambda: [
            one for one in get("events", "-n", "default")["items"]
            if one["involvedObject"]["name"] == "writes" and "readOnly" in one["message"]])
        kubectl("delete", "pod", "writes")

    def test_values_that_the_chart_does_not_know(self):
        done = node("helm", "template", install.CHART, "--set", "spire-server.replicas=1", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("replicas", done.stderr)


if __name__ == "__main__":
    timed.main()
