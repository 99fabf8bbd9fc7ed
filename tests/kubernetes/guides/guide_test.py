#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the two guides promise beyond the commands that docs/kubernetes.md runs. On the running cluster.

Names of tests begin with the items of the guides: A is the long one, B the short one.
"""

import json
import re
import subprocess
import unittest

import install
import timed
from cluster import (EXAMPLES, NAMESPACE, SERVER, account, apply, entries, eventually, get, go_image, kubectl, node, pod,
                     pod_named, server)
from install import MANIFESTS

BUSYBOX = "localhost/busybox:1"
SLEEP = ("sleep", "infinity")
OIDC = "https://spiffe-oidc-discovery-provider.spire-system"


def entry_of(path):
    """The entries with this SPIFFE ID's path."""
    return [entry for entry in entries() if entry["spiffe_id"]["path"] == path]


def condition(name, kind="Ready"):
    found = get("clusterspiffeid", name)["status"]["conditions"]
    return next(one for one in found if one["type"] == kind)


def certificates(pem):
    """Subject and issuer of each certificate, as openssl prints them."""
    found = []
    for one in re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S):
        text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253"], input=one,
                              check=True, capture_output=True, text=True).stdout
        found.append(dict(line.split("=", 1) for line in text.splitlines()))
    return found


def setUpModule():
    install.registered()
    for name in ("mtls-client", "mtls-server"):
        go_image(name, f"./cmd/{name}")


class TheServer(unittest.TestCase):
    def test_A9_A10_its_ca_is_signed_by_the_given_root_and_has_the_given_subject(self):
        minted = server("x509", "mint", "-spiffeID", "spiffe://prod.example.com/minted")
        leaf, ca = certificates(minted)[:2]
        self.assertRegex(ca["subject"], "^serialNumber=[0-9]+,CN=SPIRE Server CA,O=Example Corp,C=US$")
        self.assertEqual(leaf["issuer"], ca["subject"])
        root = certificates(server("bundle", "show"))[0]
        self.assertEqual(ca["issuer"], root["subject"])

    def test_A8_its_keys_are_on_its_disk(self):
        volume = get("pvc", "-n", NAMESPACE, "spire-data-spire-server-0")["spec"]["volumeName"]
        path = get("pv", volume)["spec"]["local"]["path"]
        self.assertLessEqual({"keys.json", "datastore.sqlite3"}, set(node("ls", path).split()))

    def test_A25_the_bundle_is_in_the_config_map(self):
        text = "".join(get("configmap", "-n", NAMESPACE, "spire-bundle")["data"].values())
        shown = certificates(server("bundle", "show"))
        keys = json.loads(text)["keys"] if text.startswith("{") else certificates(text)
        self.assertEqual(len([key for key in keys if key.get("use", "x509-svid") == "x509-svid"]), len(shown))

    def test_A32_A33_metrics_of_server_and_agents_are_reached_over_the_network(self):
        agent = get("pods", "-n", NAMESPACE, "-l", "app=spire-agent")["items"][0]["status"]["podIP"]
        for address, prefix in (("spire-server.spire-system:9988", "spire_server_"), (f"{agent}:9988", "spire_agent_")):
            text = kubectl(*SERVER, "curl", "-sS", f"http://{address}/metrics")
            self.assertTrue([line for line in text.splitlines() if line.startswith(prefix)], address)

    def test_A35_the_guides_role_is_enough_for_attestation(self):
        kubectl("apply", "-f", MANIFESTS / "guide-hardening.yaml")
        kubectl("delete", "clusterrolebinding", "spire-system-spire-server")
        apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
               "metadata": {"name": "guide-limited"},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "spire-server-limited"},
               "subjects": [{"kind": "ServiceAccount", "name": "spire-server", "namespace": NAMESPACE}]})
        try:
            install.attest_anew()
        finally:
            kubectl("delete", "clusterrolebinding", "guide-limited")
            kubectl("delete", "-f", MANIFESTS / "guide-hardening.yaml")
            install.guide()


class Registration(unittest.TestCase):
    def tearDown(self):
        kubectl("delete", "pods", "--all", "-n", "default", "--wait=true")

    def test_A17_an_entry_has_what_its_resource_says(self):
        apply(account("frontend"), pod("web", EXAMPLES, {"spiffe": "enabled"}, "frontend"))
        entry = eventually("the entry", lambda: entry_of("/ns/default/sa/frontend"))[0]
        self.assertEqual(entry["x509_svid_ttl"], 3600)
        self.assertEqual(entry["dns_names"], ["web.default.svc.cluster.local"])
        found = {f"{one['type']}:{one['value']}" for one in entry["selectors"]}
        uid = get("pod", "web")["metadata"]["uid"]
        self.assertEqual(found, {f"k8s:pod-uid:{uid}", "k8s:ns:default", "k8s:sa:frontend"})
        kubectl("delete", "pod", "web")
        eventually("the entry goes with the pod", lambda: not entry_of("/ns/default/sa/frontend"))

    def test_A18_only_in_the_named_name_spaces_and_federated_when_the_bundle_comes(self):
        for name in ("production", "elsewhere"):
            apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            eventually("the service account", lambda name=name: get("sa", "default", "-n", name))
            apply(pod("db", BUSYBOX, {"app": "postgresql"}, namespace=name, command=SLEEP))
        entry = eventually("the entry", lambda: entry_of("/ns/production/sa/default/db"))[0]
        self.assertEqual(entry["federates_with"], [])
        self.assertFalse(entry_of("/ns/elsewhere/sa/default/db"))
        missing = eventually("the condition", lambda: condition("database-workloads", "FederationReady"))
        self.assertEqual(missing["status"], "False")
        self.assertIn("partner.example.com", missing["message"])
        bundle = server("bundle", "show", "-format", "spiffe")
        kubectl("exec", "-i", "-n", NAMESPACE, "spire-server-0", "-c", "spire-server", "--", "/opt/spire/bin/spire-server",
                "bundle", "set", "-id", "spiffe://partner.example.com", "-format", "spiffe", text=bundle)
        eventually("the federation", lambda: entry_of("/ns/production/sa/default/db")[0]["federates_with"]
                   == ["partner.example.com"])
        server("bundle", "delete", "-id", "spiffe://partner.example.com", "-mode", "dissociate")
        kubectl("delete", "namespace", "production", "elsewhere", "--wait=true")

    def test_A19_the_status_counts(self):
        apply(account("frontend"), pod("web", EXAMPLES, {"spiffe": "enabled"}, "frontend"))
        eventually("the status", lambda: get("clusterspiffeid", "default-workloads")["status"]["stats"]
                   .get("entriesToSet") == 1)
        self.assertEqual(condition("default-workloads")["status"], "True")


class TheControllerManager(unittest.TestCase):
    def plan(self):
        return kubectl("exec", "-n", NAMESPACE, "spire-server-0", "-c", "spire-controller-manager", "--",
                       "/opt/spire/bin/spire-controller-manager", "-config", "/controller-manager-config.yaml", "-dry-run")

    def test_a_static_entry_is_set_and_says_so_and_goes_with_its_resource(self):
        kubectl("apply", "-f", "-", text=json.dumps({
            "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterStaticEntry", "metadata": {"name": "outside"},
            "spec": {"spiffeID": "spiffe://prod.example.com/outside", "parentID": "spiffe://prod.example.com/node",
                     "selectors": ["unix:uid:7"], "x509SVIDTTL": "2h"}}))
        entry = eventually("the entry", lambda: entry_of("/outside"))[0]
        self.assertEqual(entry["x509_svid_ttl"], 7200)
        eventually("the status", lambda: get("clusterstaticentry", "outside")["status"]["set"])
        kubectl("delete", "clusterstaticentry", "outside")
        eventually("the entry is gone", lambda: not entry_of("/outside"))

    def test_entries_of_others_are_left_alone(self):
        server("entry", "create", "-spiffeID", "spiffe://prod.example.com/by-hand", "-parentID",
               "spiffe://prod.example.com/node", "-selector", "unix:uid:9")
        self.assertEqual(self.plan(), "0 changes\n")
        entry = entry_of("/by-hand")[0]
        server("entry", "delete", "-entryID", entry["id"])

    def test_a_dry_run_says_what_would_be_done_and_does_nothing(self):
        static = {"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterStaticEntry", "metadata": {"name": "planned"},
                  "spec": {"spiffeID": "spiffe://prod.example.com/planned", "parentID": "spiffe://prod.example.com/node",
                           "selectors": ["unix:uid:7"]}}
        kubectl("apply", "-f", "-", text=json.dumps(static))
        entry = eventually("the entry", lambda: entry_of("/planned"))[0]
        # What nobody but the dry run sees in time: the running manager mends it at its next look.
        server("entry", "delete", "-entryID", entry["id"])
        self.assertIn("create", self.plan())
        eventually("the manager mends it", lambda: entry_of("/planned"))
        kubectl("delete", "clusterstaticentry", "planned")

    def test_its_metrics_are_served(self):
        address = get("pod", "-n", NAMESPACE, "spire-server-0")["status"]["podIP"]
        text = kubectl(*SERVER, "curl", "-sS", f"http://{address}:8082/metrics")
        self.assertIn("controller_runtime", text)


class MutualTls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        labels = {"spiffe": "enabled"}
        apply(account("frontend"), account("backend"),
              {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend"},
               "spec": {"selector": {"app": "backend"}, "ports": [{"port": 8443}]}},
              pod("backend", "localhost/mtls-server:1", {**labels, "app": "backend"}, "backend"))
        kubectl("wait", "--for=condition=ready", "pod/backend", "--timeout=60s")

    @classmethod
    def tearDownClass(cls):
        kubectl("delete", "pods", "--all", "-n", "default", "--wait=true")
        kubectl("delete", "service", "backend")

    def ask(self, name, who):
        """How the guide's client ends, run by this service account."""
        asking = pod(name, "localhost/mtls-client:1", {"spiffe": "enabled"}, who)
        asking["spec"]["restartPolicy"] = "OnFailure" if who == "frontend" else "Never"
        apply(asking)
        phase = eventually("the client ends", lambda: (lambda now: now in ("Succeeded", "Failed") and now)(
            get("pod", name)["status"]["phase"]))
        return phase, kubectl("logs", name)

    def test_A22_the_guides_client_gets_its_answer(self):
        phase, said = self.ask("asks", "frontend")
        self.assertEqual(phase, "Succeeded", said)
        self.assertEqual(said.strip(), "Response: Hello spiffe://prod.example.com/ns/default/sa/frontend! "
                                       "Here's your secure data.")

    def test_A23_another_identity_is_refused(self):
        phase, said = self.ask("asks-too", "default")
        self.assertEqual(phase, "Failed")
        self.assertIn("tls: bad certificate", said)


class Oidc(unittest.TestCase):
    def test_A12_the_document_and_the_keys_are_served_for_the_domain(self):
        def ask(path):
            return json.loads(kubectl(*SERVER, "curl", "-sSk", "-H", "Host: oidc-discovery.example.com", OIDC + path))
        document = eventually("the document", lambda: ask("/.well-known/openid-configuration"))
        self.assertEqual(document["issuer"], "https://oidc-discovery.example.com")
        keys = {key["kid"] for key in ask("/keys")["keys"]}
        bundle = json.loads(server("bundle", "show", "-format", "spiffe"))["keys"]
        self.assertEqual(keys, {key["kid"] for key in bundle if key["use"] == "jwt-svid"})

    def test_A12_another_host_is_refused(self):
        done = kubectl(*SERVER, "curl", "-sSk", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: other.example.com",
                       OIDC + "/.well-known/openid-configuration")
        self.assertEqual(done, "400")


class Tuning(unittest.TestCase):
    def test_A36_A37_A38_the_guides_tuning_is_taken_and_everything_runs_within_it(self):
        install.guide(install.VALUES / "tuning.yaml")
        limits = get("pod", "-n", NAMESPACE, "spire-server-0")["spec"]["containers"]
        self.assertIn("2Gi", json.dumps(limits))
        eventually("the agent is well", lambda: kubectl("exec", "-n", NAMESPACE, pod_named("app=spire-agent", NAMESPACE), "--",
                                                        "/opt/spire/bin/spire-agent", "healthcheck"))
        install.guide()


class TheShortGuide(unittest.TestCase):
    """In a name space and with a trust domain of its own."""

    @classmethod
    def setUpClass(cls):
        kubectl("delete", "-f", MANIFESTS / "guide-registration.yaml")
        install.remove()
        install.helm("upgrade", "--install", "spire", install.CHART, "--namespace", "spire", "--create-namespace", "--wait",
                     "--set", "global.spire.trustDomain=example.org",
                     "--set", "spire-server.controllerManager.podAnnotation=spire.spiffe.io/spiffe-id",
                     "--set", "spire-server.controllerManager.identities.clusterSPIFFEIDs.default.enabled=false")
        kubectl("apply", "-f", MANIFESTS / "module-registration.yaml")

    @classmethod
    def tearDownClass(cls):
        kubectl("delete", "pods", "--all", "-n", "default", "--wait=true")
        kubectl("delete", "-f", MANIFESTS / "module-registration.yaml")
        install.helm("uninstall", "spire", "--namespace", "spire", "--wait")
        kubectl("delete", "namespace", "spire", "--wait=true", "--timeout=60s")

    def svid(self, name):
        return kubectl("exec", name, "--", "/opt/spire-examples/spiffe-workload", "get-svid")

    def test_B1_B2_server_and_agents_stand_as_named(self):
        kubectl("-n", "spire", "get", "statefulset/spire-server", "daemonset/spire-agent")

    def test_B3_B4_every_pod_outside_the_excepted_name_spaces_has_an_identity(self):
        apply(pod("plain", EXAMPLES))
        kubectl("wait", "--for=condition=ready", "pod/plain", "--timeout=60s")
        self.assertIn("SPIFFE ID: spiffe://example.org/ns/default/sa/default\n", self.svid("plain"))
        listed = kubectl("exec", "-n", "spire", "spire-server-0", "-c", "spire-server", "--",
                         "/opt/spire/bin/spire-server", "entry", "show", "-output", "json")
        paths = {entry["spiffe_id"]["path"] for entry in json.loads(listed)["entries"]}
        self.assertFalse([path for path in paths if path.startswith(("/ns/spire/sa/spire-", "/ns/kube-system"))], paths)

    def test_B3_a_pod_can_be_registered_by_its_annotation(self):
        annotated = pod("annotated", EXAMPLES)
        annotated["metadata"]["annotations"] = {"spire.spiffe.io/spiffe-id": "/chosen"}
        apply(annotated)
        kubectl("wait", "--for=condition=ready", "pod/annotated", "--timeout=60s")
        eventually("the identity", lambda: "SPIFFE ID: spiffe://example.org/chosen\n" in self.svid("annotated"))


if __name__ == "__main__":
    timed.main()
