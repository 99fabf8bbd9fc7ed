#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: api_test.py [TEST...]

The chart and its definitions against a real API server (apiserver.py), without nodes: what is taken and refused, and
what install, upgrade, rollback and uninstall leave. Running pods are the business of the tests on a whole cluster.
"""

import json
import sys
import unittest

import helm
from apiserver import ApiServer
from helm import CHART, CRDS_CHART, HERE, ROOT, VALUES, Values

API = ApiServer()
GUIDE = VALUES / "guide.yaml"
NAMESPACE = helm.NAMESPACE
SECRET = "spire-server-upstream-ca"


def setUpModule():
    API.start()
    for name in (NAMESPACE, "spire"):
        API.kubectl("create", "namespace", name)


def tearDownModule():
    API.stop()


def spiffe_id(**spec):
    return {"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": "tried"},
            "spec": {"spiffeIDTemplate": "spiffe://example.org/x", **spec}}


class Case(unittest.TestCase):
    def works(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def apply(self, *arguments, **others):
        return API.kubectl("apply", "--validate=strict", *arguments, **others)

    def apply_object(self, one, *arguments):
        return self.apply("--filename", "-", *arguments, input=json.dumps(one))

    def install(self, *arguments, values=None, release="spire", namespace=NAMESPACE):
        with Values(values or {}) as file:
            return API.helm("upgrade", "--install", release, str(CHART), "--namespace", namespace, "--values",
                            str(GUIDE), "--values", file, *arguments)

    def server(self):
        return API.get("statefulset", "spire-server", "--namespace", NAMESPACE)

    def secret(self):
        return API.get("secret", SECRET, "--namespace", NAMESPACE)

    @staticmethod
    def uninstall():
        API.helm("uninstall", "spire", "--namespace", NAMESPACE)
        API.kubectl("delete", "secret", SECRET, "--namespace", NAMESPACE, "--ignore-not-found")


class Definitions(Case):
    @classmethod
    def setUpClass(cls):
        API.kubectl("apply", "--validate=strict", "--filename", str(CHART / "crds"))
        done = API.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", str(CHART / "crds"))
        assert done.returncode == 0, done.stderr

    def test_schemas_are_structural(self):
        for one in API.get("customresourcedefinitions")["items"]:
            kinds = {condition["type"]: condition["status"] for condition in one["status"]["conditions"]}
            self.assertEqual(kinds.get("NonStructuralSchema", "False"), "False", one["metadata"]["name"])

    def test_the_guides_resources_are_taken_as_they_are_written(self):
        for name in ("guide-registration.yaml", "module-registration.yaml"):
            self.works(self.apply("--filename", str(HERE / "manifests" / name)))
        found = API.get("clusterspiffeid", "database-workloads")
        self.assertEqual(found["spec"]["namespaceSelector"]["matchNames"], ["production", "staging"])
        self.works(API.kubectl("delete", "clusterspiffeids", "default-workloads", "database-workloads"))

    def test_its_network_policy_and_cluster_role_are_taken(self):
        self.works(self.apply("--filename", str(HERE / "manifests/guide-hardening.yaml"), "--dry-run=server"))

    def test_the_test_clusters_storage_is_taken(self):
        self.works(self.apply("--filename", str(HERE.parent / "cluster/storage.yaml"), "--dry-run=server"))

    def test_lifetimes_are_durations_or_seconds(self):
        for ttl in (3600, "1h", "90m", "1h30m", "0.5h", 0):
            with self.subTest(ttl):
                self.works(self.apply_object(spiffe_id(ttl=ttl, jwtTtl=ttl), "--dry-run=server"))
        for ttl in ("1 day", "-1h", "3600", "h", -1, 1.5, True):
            with self.subTest(ttl):
                done = self.apply_object(spiffe_id(ttl=ttl), "--dry-run=server")
                self.assertIn("spec.ttl", done.stderr)

    def test_bad_resources_are_refused_by_field(self):
        static = {"spiffeID": "spiffe://a/b", "parentID": "spiffe://a/c", "selectors": ["unix:uid:0"]}
        domain = {"trustDomain": "partner.example", "bundleEndpointURL": "https://partner.example",
                  "bundleEndpointProfile": {"type": "https_web"}}
        for kind, spec, word in (
                ("ClusterSPIFFEID", {}, "spec.spiffeIDTemplate"),
                ("ClusterSPIFFEID", {"spiffeIDTemplate": ""}, "spec.spiffeIDTemplate"),
                ("ClusterSPIFFEID", {"spiffeIDTemplate": "x", "podSelector": {"matchNames": ["a"]}},
                 "spec.podSelector.matchNames"),
                ("ClusterSPIFFEID", {"spiffeIDTemplate": "x", "namespaceSelector": {"matchNames": "a"}},
                 "spec.namespaceSelector.matchNames"),
                ("ClusterSPIFFEID", {"spiffeIDTemplate": "x", "namespaceSelector": {"matchExpressions": [
                    {"key": "a", "operator": "Like"}]}}, "operator"),
                ("ClusterSPIFFEID", {"spiffeIDTemplate": "x", "dnsNames": ["a"]}, "spec.dnsNames"),
                ("ClusterStaticEntry", {**static, "selectors": []}, "spec.selectors"),
                ("ClusterStaticEntry", {"spiffeID": "spiffe://a/b"}, "spec.parentID"),
                ("ClusterStaticEntry", {**static, "x509SVIDTTL": "soon"}, "spec.x509SVIDTTL"),
                ("ClusterFederatedTrustDomain", {**domain, "bundleEndpointURL": "http://a"}, "spec.bundleEndpointURL"),
                ("ClusterFederatedTrustDomain", {**domain, "bundleEndpointProfile": {"type": "plain"}},
                 "spec.bundleEndpointProfile.type"),
                ("ClusterFederatedTrustDomain", {**domain, "trustDomain": "Partner"}, "spec.trustDomain")):
            with self.subTest(kind + " " + word):
                done = self.apply_object({"apiVersion": "spire.spiffe.io/v1alpha1", "kind": kind,
                                          "metadata": {"name": "tried"}, "spec": spec}, "--dry-run=server")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(word, done.stderr)

    def test_status_has_numbers_and_conditions_and_is_listed(self):
        self.works(self.apply_object(spiffe_id()))
        ready = {"type": "Ready", "status": "False", "reason": "RenderFailures", "message": "default/a: no node",
                 "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
        status = {"status": {"stats": {"podsSelected": 7, "entriesToSet": 6, "podEntryRenderFailures": 1},
                             "conditions": [ready]}}
        self.works(API.kubectl("patch", "clusterspiffeid", "tried", "--subresource=status", "--type=merge", "--patch",
                               json.dumps(status)))
        listed = self.works(API.kubectl("get", "clusterspiffeids", "tried")).stdout.splitlines()
        self.assertEqual(listed[0].split()[:5], ["NAME", "PODS", "ENTRIES", "FAILURES", "READY"])
        self.assertEqual(listed[1].split()[:5], ["tried", "7", "6", "1", "False"])
        self.works(API.kubectl("delete", "clusterspiffeid", "tried"))

    def test_plain_manifests_are_taken(self):
        self.works(self.apply("--filename", str(ROOT / "deploy/manifests"), "--dry-run=server"))

    def test_every_rendering_is_taken_by_a_strict_server(self):
        for name in ("guide", "everything", "hardened"):
            with self.subTest(name):
                text = helm.template(VALUES / f"{name}.yaml").stdout
                own = [one for one in text.split("\n---\n") if "monitoring.coreos.com" not in one]
                self.works(self.apply("--filename", "-", "--dry-run=server", input="\n---\n".join(own)))


class Rights(Case):
    """What the components' service accounts may and may not do, and what their pods may be."""

    SERVER = f"system:serviceaccount:{NAMESPACE}:spire-server"
    AGENT = f"system:serviceaccount:{NAMESPACE}:spire-agent"

    @classmethod
    def setUpClass(cls):
        with Values({}) as file:
            done = API.helm("upgrade", "--install", "spire", str(CHART), "--namespace", NAMESPACE, "--values", str(GUIDE),
                            "--values", file)
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.uninstall()

    def may(self, who, verb, what, *more):
        return API.kubectl("auth", "can-i", verb, what, "--as", who, *more).stdout.strip() == "yes"

    def test_the_server_may_attest_and_keep_its_bundle_and_no_more(self):
        here = ("--namespace", NAMESPACE)
        for verb, what, *more in (("create", "tokenreviews.authentication.k8s.io"), ("get", "nodes"), ("get", "pods"),
                                  ("patch", "configmap/spire-bundle", *here)):
            self.assertTrue(self.may(self.SERVER, verb, what, *more), f"{verb} {what}")
        for verb, what, *more in (("patch", "configmap/spire-server", *here), ("create", "configmaps", *here),
                                  ("get", "secrets", *here), ("list", "secrets"), ("create", "pods"), ("delete", "pods"),
                                  ("create", "subjectaccessreviews.authorization.k8s.io"), ("patch", "nodes")):
            self.assertFalse(self.may(self.SERVER, verb, what, *more), f"{verb} {what}")

    def test_the_bundle_is_written_as_the_publisher_writes_it(self):
        bundle = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "spire-bundle", "namespace": NAMESPACE},
                  "data": {"bundle.crt": "the server's"}}
        self.works(API.kubectl("apply", "--as", self.SERVER, "--server-side", "--force-conflicts", "--field-manager",
                               "spire-bundlepublisher-k8s_configmap", "--filename", "-", input=json.dumps(bundle)))
        self.assertEqual(API.get("configmap", "spire-bundle", "--namespace", NAMESPACE)["data"], bundle["data"])

    def test_the_controller_manager_may_watch_and_report_and_no_more(self):
        hook = f"validatingwebhookconfiguration/{NAMESPACE}-spire-controller-manager-webhook"
        for verb, what, *more in (("watch", "pods"), ("list", "namespaces"), ("list", "endpoints"), ("watch", "nodes"),
                                  ("watch", "clusterspiffeids"), ("patch", "clusterspiffeids", "--subresource=status"),
                                  ("create", "events"), ("patch", hook), ("list", hook),
                                  ("create", "leases", "--namespace", NAMESPACE)):
            self.assertTrue(self.may(self.SERVER, verb, what, *more), f"{verb} {what}")
        for verb, what, *more in (("patch", "validatingwebhookconfiguration/another"), ("delete", hook),
                                  ("create", "clusterspiffeids"), ("patch", "clusterspiffeids"), ("patch", "pods"),
                                  ("patch", "lease/another", "--namespace", NAMESPACE)):
            self.assertFalse(self.may(self.SERVER, verb, what, *more), f"{verb} {what}")

    def test_the_agent_may_ask_the_kubelet_and_no_more(self):
        self.assertTrue(self.may(self.AGENT, "get", "nodes", "--subresource=pods"))
        for verb, what in (("get", "pods"), ("list", "pods"), ("get", "nodes"), ("get", "secrets"), ("get", "configmaps"),
                           ("create", "tokenreviews.authentication.k8s.io")):
            self.assertFalse(self.may(self.AGENT, verb, what), f"{verb} {what}")

    def test_the_api_servers_own_pod_security_admits_them_as_restricted(self):
        API.kubectl("create", "namespace", "restricted")
        self.works(API.kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted"))
        admitted = {}
        for (kind, name), one in helm.objects(helm.template(GUIDE).stdout).items():
            if kind in ("StatefulSet", "DaemonSet", "Deployment", "Pod"):
                spec = one["spec"] if kind == "Pod" else one["spec"]["template"]["spec"]
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "restricted"}}
                if kind == "StatefulSet":
                    spec["volumes"].append({"name": "spire-data", "emptyDir": {}})
                done = self.apply_object({**pod, "spec": spec}, "--dry-run=server")
                self.assertIn("violates PodSecurity" if done.returncode else "created", done.stderr + done.stdout)
                admitted[name] = done.returncode == 0
        self.assertEqual(admitted, {"spire-server": True, "spiffe-oidc-discovery-provider": True, "spire-test": True,
                                    "spire-agent": False, "spiffe-csi-driver": False})


class Releases(Case):
    def tearDown(self):
        self.uninstall()
        API.kubectl("delete", "storageclass", "--all")

    def test_one_command_installs_everything_on_an_empty_cluster(self):
        API.kubectl("delete", "customresourcedefinitions", "--all")
        self.works(self.install())
        kinds = "statefulsets,daemonsets,deployments,services,configmaps,clusterspiffeids"
        names = {one["metadata"]["name"] for one in API.get(kinds, "--namespace", NAMESPACE)["items"]}
        self.assertLessEqual({"spire-server", "spire-agent", "spiffe-csi-driver", "spiffe-oidc-discovery-provider",
                              "spire-bundle", "spire-system-spire-default"}, names)
        self.assertIsNotNone(API.get("csidriver", "csi.spiffe.io"))

    def test_definitions_that_the_other_chart_installed_first_are_left_to_it(self):
        API.kubectl("delete", "customresourcedefinitions", "--all")
        self.works(API.helm("upgrade", "--install", "spire-crds", str(CRDS_CHART), "--namespace", NAMESPACE))
        self.works(self.install())
        self.uninstall()
        self.works(API.helm("uninstall", "spire-crds", "--namespace", NAMESPACE, "--wait"))
        self.assertIsNone(API.get("customresourcedefinitions"))

    def test_an_upgrade_keeps_the_upstream_ca_the_bundle_and_what_the_controller_wrote(self):
        self.works(self.install())
        before = self.secret()["data"]
        API.kubectl("patch", "configmap", "spire-bundle", "--namespace", NAMESPACE, "--type=merge", "--patch",
                    json.dumps({"data": {"bundle.crt": "the server's"}}))
        hook = f"{NAMESPACE}-spire-controller-manager-webhook"
        webhooks = API.get("validatingwebhookconfiguration", hook)
        for one in webhooks["webhooks"]:
            one["clientConfig"]["caBundle"] = before["tls.crt"]
        self.works(API.kubectl("replace", "--filename", "-", input=json.dumps(webhooks)))
        self.works(self.install(values={"spire-server": {"logLevel": "debug"}}))
        self.assertEqual(self.secret()["data"], before)
        self.assertEqual(API.get("configmap", "spire-bundle", "--namespace", NAMESPACE)["data"],
                         {"bundle.crt": "the server's"})
        for one in API.get("validatingwebhookconfiguration", hook)["webhooks"]:
            self.assertEqual(one["clientConfig"]["caBundle"], before["tls.crt"])

    def test_an_upgrade_in_the_second_half_of_its_life_makes_the_next_upstream_ca(self):
        self.works(self.install())
        before = self.secret()["data"]
        self.works(API.kubectl("annotate", "secret", SECRET, "--namespace", NAMESPACE, "--overwrite",
                               "spire.spiffe.io/made-at=1000000000"))
        self.works(self.install())
        self.assertNotEqual(self.secret()["data"]["tls.crt"], before["tls.crt"])
        self.assertNotEqual(self.secret()["metadata"]["annotations"]["spire.spiffe.io/made-at"], "1000000000")

    def test_changed_settings_restart_pods_and_unchanged_ones_do_not(self):
        def sums():
            pods = {name: API.get(kind, name, "--namespace", NAMESPACE)["spec"]["template"] for kind, name in
                    (("statefulset", "spire-server"), ("daemonset", "spire-agent"))}
            return {name: pod["metadata"]["annotations"]["checksum/config"] for name, pod in pods.items()}

        self.works(self.install())
        first = sums()
        self.works(self.install())
        self.assertEqual(sums(), first)
        self.works(self.install(values={"spire-agent": {"logLevel": "debug"}}))
        self.assertEqual(sums()["spire-server"], first["spire-server"])
        self.assertNotEqual(sums()["spire-agent"], first["spire-agent"])

    def test_a_rollback_brings_back_what_was(self):
        self.works(self.install())
        image = self.server()["spec"]["template"]["spec"]["containers"][0]["image"]
        self.works(self.install(values={"global": {"spire": {"image": {"tag": "broken"}}}}))
        self.assertNotEqual(self.server()["spec"]["template"]["spec"]["containers"][0]["image"], image)
        ca = self.secret()["data"]
        self.works(API.helm("rollback", "spire", "1", "--namespace", NAMESPACE))
        self.assertEqual(self.server()["spec"]["template"]["spec"]["containers"][0]["image"], image)
        self.assertEqual(self.secret()["data"], ca)

    def test_an_uninstall_leaves_the_definitions_and_the_upstream_ca_and_nothing_else(self):
        self.works(self.install())
        ca = self.secret()["data"]
        self.works(API.helm("uninstall", "spire", "--namespace", NAMESPACE))
        kinds = ("statefulsets,daemonsets,deployments,services,serviceaccounts,roles,rolebindings,clusterroles,"
                 "clusterrolebindings,validatingwebhookconfigurations,csidrivers,clusterspiffeids,configmaps,secrets")
        left = [f"{one['kind']}/{one['metadata']['name']}" for one in
                API.get(kinds, "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/part-of=spire")["items"]]
        self.assertEqual(left, [f"Secret/{SECRET}"])
        self.works(self.install())
        self.assertEqual(self.secret()["data"], ca)

    def test_without_retain_the_upstream_ca_goes_too(self):
        self.works(self.install(values={"spire-server": {"persistence": {"retain": False}}}))
        self.works(API.helm("uninstall", "spire", "--namespace", NAMESPACE))
        self.assertIsNone(self.secret())

    def storage_class(self):
        self.works(self.apply_object({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
            "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}))

    def test_without_a_default_storage_class_the_server_gets_an_emptydir_and_the_notes_say_so(self):
        done = self.works(self.install())
        self.assertIn("WARNING: the server keeps its database and keys in an emptyDir", done.stdout)
        self.assertNotIn("volumeClaimTemplates", self.server()["spec"])
        # A class that comes later does not stop upgrades, whose StatefulSet cannot change.
        self.storage_class()
        self.works(self.install(values={"spire-server": {"logLevel": "debug"}}))
        done = self.install(values={"spire-server": {"persistence": {"type": "pvc"}}})
        self.assertIn("spire-server.persistence.type: the installed server has emptyDir", done.stderr)

    def test_with_one_it_gets_a_volume_whose_changes_are_explained(self):
        self.storage_class()
        done = self.works(self.install())
        self.assertNotIn("WARNING", done.stdout)
        claim = self.server()["spec"]["volumeClaimTemplates"][0]
        self.assertEqual(claim["spec"]["resources"]["requests"]["storage"], "1Gi")
        self.works(self.install(values={"spire-server": {"logLevel": "debug"}}))
        for values, word in (({"size": "5Gi"}, "persistence.size: the installed server has 1Gi"),
                             ({"storageClass": "fast"}, "persistence.storageClass"),
                             ({"type": "emptyDir"}, "persistence.type: the installed server has pvc")):
            done = self.install(values={"spire-server": {"persistence": values}})
            self.assertIn(word, done.stderr)
            self.assertIn("--cascade=orphan", done.stderr)

    def test_kubelets_that_know_nodes_pods_are_asked_without_nodes_proxy(self):
        def resources():
            return API.get("clusterrole", f"{NAMESPACE}-spire-agent")["rules"][0]["resources"]
        for name, version in (("new", "v1.33.4"), ("old", "v1.31.0")):
            self.works(self.apply_object({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
            status = {"status": {"nodeInfo": {"kubeletVersion": version, **dict.fromkeys((
                "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion",
                "kubeProxyVersion", "operatingSystem", "architecture"), "")}}}
            self.works(API.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "--patch",
                                   json.dumps(status)))
            self.works(self.install())
            self.assertEqual(resources(), ["nodes/pods"] if name == "new" else ["nodes/pods", "nodes/proxy"])
        API.kubectl("delete", "nodes", "--all")


if __name__ == "__main__":
    missing = [name for name in ("helm", "kubectl", "etcd", "kube-apiserver") if not helm.program(name)]
    if missing:
        sys.exit(f"{missing[0]} is not in {helm.PROGRAMS}; tests/kubernetes/cluster/build.sh builds it")
    unittest.main()
