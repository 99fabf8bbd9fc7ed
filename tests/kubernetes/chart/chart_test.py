#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: chart_test.py [--update] [TEST...]

The chart without a cluster: what it renders from the guide's values and from others, against recorded output
(--update records), and what it refuses. Needs helm, which tests/kubernetes/cluster/build.sh builds.
"""

import base64
import filecmp
import json
import re
import subprocess
import sys
import unittest

import helm
from helm import CHART, CRDS_CHART, HERE, NAMESPACE, ROOT, VALUES, nested, objects, template, template_values

GOLDEN = HERE / "golden"
UPDATE = "--update" in sys.argv
GUIDE = VALUES / "guide.yaml"


def steady(text):
    """Without what differs from run to run: the CA that the chart makes, and when."""
    text = re.sub(r"(tls\.(?:crt|key): ).{100,}", r"\1MADE", text)
    text = re.sub(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", "MADE", text, flags=re.S)
    return re.sub(r"(spire.spiffe.io/made-at: ).*", r"\1NOW", text)


def rendered(*files, values=None):
    done = template_values(values, *files) if values else template(*files)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return objects(done.stdout)


def config(found, name, key):
    return json.loads(found["ConfigMap", name]["data"][key])


def containers(found, kind, name):
    return {one["name"]: one for one in found[kind, name]["spec"]["template"]["spec"]["containers"]}


class Recorded(unittest.TestCase):
    def check(self, name, *files):
        done = template(*files, more=["--include-crds"])
        self.assertEqual(done.returncode, 0, done.stderr)
        golden = GOLDEN / f"{name}.yaml"
        text = steady(done.stdout)
        if UPDATE:
            golden.write_text(text)
        self.assertEqual(text, golden.read_text(), f"{golden.name} differs; chart_test.py --update records it")

    def test_defaults(self):
        self.check("defaults")

    def test_the_guides_values(self):
        self.check("guide", GUIDE)

    def test_everything_that_is_off_by_default(self):
        self.check("everything", VALUES / "everything.yaml")

    def test_values_of_helm_charts_hardened(self):
        self.check("hardened", VALUES / "hardened.yaml")


class OneSource(unittest.TestCase):
    def test_values_schema_and_page_are_what_the_tables_say(self):
        done = subprocess.run([sys.executable, "-B", ROOT / "deploy/chart/values/generate.py", "--check"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_plain_manifests_are_what_the_chart_renders(self):
        done = subprocess.run([sys.executable, "-B", ROOT / "deploy/manifests/render.py", "--check",
                               "--helm", helm.program("helm")], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_both_charts_have_the_same_definitions(self):
        ours = sorted(path.name for path in (CHART / "crds").iterdir())
        self.assertEqual(ours, sorted(path.name for path in (CRDS_CHART / "templates").iterdir()))
        _, mismatch, errors = filecmp.cmpfiles(CHART / "crds", CRDS_CHART / "templates", ours, shallow=False)
        self.assertEqual((mismatch, errors), ([], []))
        done = template(chart=CRDS_CHART)
        self.assertEqual(len(objects(done.stdout)), 3, done.stderr)

    def test_every_alert_and_panel_reads_well_formed_json_and_yaml(self):
        import yaml
        rules = yaml.safe_load((CHART / "files/rules.yaml").read_text())
        for rule in rules["groups"][0]["rules"]:
            self.assertTrue({"alert", "expr", "for", "labels", "annotations"} <= rule.keys(), rule)
        board = json.loads((CHART / "files/dashboard.json").read_text())
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))


class TheGuide(unittest.TestCase):
    """What the guide's commands count on."""

    @classmethod
    def setUpClass(cls):
        cls.found = rendered(GUIDE)

    def test_pods_and_containers_are_called_as_in_its_listing(self):
        self.assertEqual(list(containers(self.found, "StatefulSet", "spire-server")),
                         ["spire-server", "spire-controller-manager"])
        for kind, name in (("DaemonSet", "spire-agent"), ("DaemonSet", "spiffe-csi-driver"),
                           ("Deployment", "spiffe-oidc-discovery-provider")):
            self.assertEqual(list(containers(self.found, kind, name)), [name])

    def test_labels_select_pods_as_it_does(self):
        for kind, name in (("StatefulSet", "spire-server"), ("DaemonSet", "spire-agent")):
            self.assertEqual(self.found[kind, name]["spec"]["template"]["metadata"]["labels"]["app"], name)

    def test_the_service_has_the_ports_that_it_names(self):
        ports = {one["port"]: one["targetPort"] for one in self.found["Service", "spire-server"]["spec"]["ports"]}
        self.assertEqual(ports, {443: "grpc", 8081: "grpc", 8443: "bundle", 9988: "metrics"})

    def test_server_settings_arrive(self):
        conf = config(self.found, "spire-server", "server.conf")
        self.assertEqual(conf["server"]["trust_domain"], "prod.example.com")
        self.assertEqual(conf["server"]["ca_subject"], [{"country": ["US"], "organization": ["Example Corp"],
                                                         "common_name": "SPIRE Server CA"}])
        endpoint = conf["server"]["federation"]["bundle_endpoint"]
        self.assertEqual((endpoint["address"], endpoint["port"]), ("0.0.0.0", 8443))
        plugins = conf["plugins"]
        self.assertEqual(plugins["DataStore"]["sql"]["plugin_data"]["connection_string"],
                         "/run/spire/data/datastore.sqlite3")
        self.assertIn("disk", plugins["KeyManager"])
        self.assertIn("k8s_psat", plugins["NodeAttestor"])
        self.assertEqual(plugins["UpstreamAuthority"]["disk"]["plugin_data"],
                         {"cert_file_path": "/run/spire/ca/ca.crt", "key_file_path": "/run/spire/ca/ca.key"})

    def test_the_upstream_ca_that_nobody_gave_is_made_and_mounted_where_it_says(self):
        secret = self.found["Secret", "spire-server-upstream-ca"]
        self.assertEqual(secret["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        pem = base64.b64decode(secret["data"]["tls.crt"])
        text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem, capture_output=True, check=True).stdout
        self.assertIn(b"CA:TRUE", text)
        self.assertIn(b"Upstream CA of prod.example.com", text)
        pod = self.found["StatefulSet", "spire-server"]["spec"]["template"]["spec"]
        volume = next(one for one in pod["volumes"] if one["name"] == "upstream-ca")["secret"]
        self.assertEqual(volume["secretName"], "spire-server-upstream-ca")
        self.assertEqual({one["key"]: one["path"] for one in volume["items"]},
                         {"tls.crt": "ca.crt", "tls.key": "ca.key"})
        mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
        self.assertEqual(mounts["upstream-ca"], "/run/spire/ca")

    def test_agents_have_the_upstream_ca_to_start_with(self):
        secret = self.found["Secret", "spire-server-upstream-ca"]
        self.assertEqual(self.found["ConfigMap", "spire-bundle"]["data"]["bundle.crt"],
                         base64.b64decode(secret["data"]["tls.crt"]).decode())
        conf = config(self.found, "spire-agent", "agent.conf")["agent"]
        self.assertEqual((conf["trust_bundle_path"], conf["trust_bundle_format"]),
                         ("/run/spire/bundle/bundle.crt", "pem"))
        server = config(self.found, "spire-server", "server.conf")
        cluster = server["plugins"]["BundlePublisher"]["k8s_configmap"]["plugin_data"]["clusters"][0]["example-cluster"]
        self.assertEqual((cluster["configmap_key"], cluster["format"]), ("bundle.crt", "pem"))

    def test_agent_settings_arrive(self):
        conf = config(self.found, "spire-agent", "agent.conf")
        self.assertEqual((conf["agent"]["server_address"], conf["agent"]["server_port"]),
                         ("spire-server.spire-system", 8081))
        self.assertEqual(conf["agent"]["socket_path"], "/run/spire/agent-sockets/spire-agent.sock")
        self.assertEqual(conf["health_checks"]["bind_port"], "9982")
        agent = containers(self.found, "DaemonSet", "spire-agent")["spire-agent"]
        env = {one["name"]: one.get("value") for one in agent["env"]}
        self.assertEqual(env["SPIRE_AGENT_PUBLIC_SOCKET"], conf["agent"]["socket_path"])

    def test_the_oidc_domain_arrives_in_both_configurations(self):
        provider = config(self.found, "spiffe-oidc-discovery-provider", "oidc-discovery-provider.conf")
        self.assertIn("oidc-discovery.example.com", provider["domains"])
        server = config(self.found, "spire-server", "server.conf")
        self.assertEqual(provider["jwt_issuer"], "https://oidc-discovery.example.com")
        self.assertEqual(server["server"]["jwt_issuer"], provider["jwt_issuer"])

    def test_objects_without_a_class_count(self):
        conf = config(self.found, "spire-controller-manager", "controller-manager-config.yaml")
        self.assertTrue(conf["watchClassless"])

    def test_its_tuning_values_are_taken(self):
        found = rendered(GUIDE, values={
            "spire-server": {"resources": {"requests": {"memory": "512Mi", "cpu": "100m"},
                                           "limits": {"memory": "2Gi", "cpu": "1000m"}},
                             "config": {"server": {"cache_size": 10000}}},
            "spire-agent": {"resources": {"requests": {"memory": "128Mi", "cpu": "50m"},
                                          "limits": {"memory": "512Mi", "cpu": "500m"}},
                            "config": {"agent": {"sync_interval": "10s"}}}})
        self.assertEqual(config(found, "spire-agent", "agent.conf")["agent"]["experimental"], {"sync_interval": "10s"})
        server = containers(found, "StatefulSet", "spire-server")["spire-server"]
        self.assertEqual(server["resources"]["requests"]["memory"], "512Mi")

    def test_its_network_policy_and_cluster_role_are_enough_for_what_the_chart_needs(self):
        # Agents have addresses of their own, so that podSelector app=spire-agent lets them through to port 8081.
        pod = self.found["DaemonSet", "spire-agent"]["spec"]["template"]["spec"]
        self.assertFalse(pod.get("hostNetwork", False))
        allowed = {("", "nodes", "get"), ("", "pods", "get"), ("authentication.k8s.io", "tokenreviews", "create")}
        for rule in self.found["ClusterRole", "spire-system-spire-server"]["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        self.assertIn((group, resource, verb), allowed)


class Standards(unittest.TestCase):
    """What holds for every rendering."""

    @classmethod
    def setUpClass(cls):
        cls.all = [rendered(), rendered(GUIDE), rendered(VALUES / "everything.yaml"),
                   rendered(VALUES / "hardened.yaml")]

    def pods(self):
        for found in self.all:
            for (kind, name), one in found.items():
                if kind in ("StatefulSet", "DaemonSet", "Deployment"):
                    yield name, one["spec"]["template"]["spec"]
                elif kind == "Pod":
                    yield name, one["spec"]

    def test_server_provider_and_test_pods_meet_the_pod_standard_restricted(self):
        for name, pod in self.pods():
            if name in ("spire-agent", "spiffe-csi-driver"):
                continue
            self.assertTrue(pod["securityContext"]["runAsNonRoot"], name)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse({"hostPID", "hostNetwork", "hostIPC"} & pod.keys())
            for volume in pod.get("volumes", []):
                self.assertNotIn("hostPath", volume, name)
            for one in pod["containers"]:
                self.assertFalse(one["securityContext"]["allowPrivilegeEscalation"], name)
                self.assertEqual(one["securityContext"]["capabilities"], {"drop": ["ALL"]})

    def test_no_container_writes_its_root(self):
        for name, pod in self.pods():
            for one in pod["containers"]:
                self.assertTrue(one["securityContext"]["readOnlyRootFilesystem"], name)

    def test_only_those_that_ask_the_api_server_or_the_kubelet_have_a_token(self):
        for name, pod in self.pods():
            self.assertEqual(pod["automountServiceAccountToken"], name in ("spire-server", "spire-agent"), name)

    def test_every_port_of_a_service_and_probe_is_one_of_its_pods(self):
        for found in self.all:
            names = {port["name"] for (kind, _), one in found.items() if kind in ("StatefulSet", "DaemonSet", "Deployment")
                     for box in one["spec"]["template"]["spec"]["containers"] for port in box.get("ports", [])}
            for (kind, name), one in found.items():
                if kind == "Service":
                    for port in one["spec"]["ports"]:
                        self.assertIn(port["targetPort"], names, name)
            for name, pod in self.pods():
                for box in pod["containers"]:
                    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                        if probe in box:
                            self.assertIn(box[probe]["httpGet"]["port"], {port["name"] for port in box["ports"]}, name)

    def test_nothing_waits_before_its_first_probe(self):
        for name, pod in self.pods():
            for box in pod["containers"]:
                if "startupProbe" in box:
                    self.assertEqual(box["startupProbe"]["initialDelaySeconds"], 0, name)
                    self.assertEqual(box["startupProbe"]["periodSeconds"], 1, name)

    def test_nothing_has_a_hook_or_finalizer_that_could_stick(self):
        for found in self.all:
            for (kind, name), one in found.items():
                self.assertNotIn("finalizers", one["metadata"], name)
                hook = one["metadata"].get("annotations", {}).get("helm.sh/hook")
                self.assertIn(hook, (None, "test"), name)

    def test_mounts_of_a_pod_have_their_volumes_and_no_two_are_at_one_place(self):
        for name, pod in self.pods():
            volumes = {one["name"] for one in pod.get("volumes", [])} | {"spire-data"}
            for box in pod["containers"]:
                paths = [one["mountPath"] for one in box.get("volumeMounts", [])]
                self.assertEqual(len(paths), len(set(paths)), name)
                self.assertLessEqual({one["name"] for one in box.get("volumeMounts", [])}, volumes, name)

    def test_the_chart_made_objects_are_not_asked_of_the_webhook(self):
        for found in self.all:
            for (kind, name), one in found.items():
                if kind in ("ClusterSPIFFEID", "ClusterStaticEntry"):
                    self.assertIn("spire.spiffe.io/made-by-chart", one["metadata"]["labels"], name)


class Refused(unittest.TestCase):
    def refused(self, values, *words, base=()):
        done = template_values(values, *base)
        self.assertNotEqual(done.returncode, 0, f"{values} was taken")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_unknown_keys_are_named(self):
        for path in ("spire-server.replicaCounts", "global.spire.trustdomain", "spire-agent.healthChecks.ports",
                     "spiffe-csi-driver.enabledd", "spire-server.upstreamAuthority.disk.certificate", "spire-sever",
                     "spiffe-oidc-discovery-provider.config.domain", "global.spier"):
            with self.subTest(path):
                self.refused(nested(path, "x"), path.rsplit(".", 1)[-1], "additional propert")

    def test_wrong_types_are_named(self):
        for path, value in (("spire-server.replicaCount", "many"), ("global.spire.trustDomain", "Prod.Example.com"),
                            ("spire-server.caTTL", "1 day"), ("spire-agent.server.port", 70000),
                            ("spire-server.logLevel", "loud"), ("spire-agent.tolerations", {}),
                            ("spiffe-oidc-discovery-provider.config.domains", "a.example"),
                            ("spire-server.controllerManager.identities.clusterSPIFFEIDs", {"a": {"tttl": "1h"}})):
            with self.subTest(path):
                self.refused(nested(path, value), path.rsplit(".", 1)[-1])

    def test_every_value_of_what_is_not_built_is_refused_with_its_name_and_the_reason(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        for refusal in json.loads((CHART / "files/refused.json").read_text()):
            path = ".".join(refusal["path"])
            with self.subTest(path):
                node = schema
                for part in refusal["path"]:
                    node = node["properties"][part]
                value = {"enabled": {"enabled": True}, "set": sample(node), "other": "x"}[refusal["when"]]
                if refusal["when"] == "other" and "enum" in node:
                    value = next(word for word in node["enum"] if word not in refusal["allowed"])
                elif refusal["when"] == "other" and node["type"] == "boolean":
                    value = not refusal["allowed"][0]
                self.refused(nested(path, value), path, refusal["reason"])

    def test_the_guides_values_of_later_chapters_say_what_is_missing(self):
        self.refused({"spire-server": {"replicaCount": 3, "dataStore": {"sql": {
            "databaseType": "postgres", "connectionString": "host=postgres-ha.data.svc.cluster.local dbname=spire"}}}},
            "spire-server.dataStore.sql.databaseType postgres", "only sqlite3 is built", base=[GUIDE])
        self.refused({"spire-server": {"nodeAttestor": {"aws_iid": {
            "enabled": True, "access_key_id": "a", "secret_access_key": "b", "skip_block_device": True}}}},
            "spire-server.nodeAttestor.aws_iid.enabled", base=[GUIDE])
        self.refused({"spire-agent": {"nodeAttestor": {"gcp_iit": {"enabled": True}}}},
                     "spire-agent.nodeAttestor.gcp_iit.enabled", base=[GUIDE])

    def test_values_that_do_not_go_together(self):
        server = "spire-server."
        for values, word in (
                ({"spire-server": {"replicaCount": 3}}, server + "replicaCount 3"),
                ({"spire-server": {"keyManager": {"memory": {"enabled": True}}}}, server + "keyManager"),
                ({"spire-server": {"nodeAttestor": {"k8sPsat": {"enabled": False}}}}, server + "nodeAttestor"),
                ({"spire-server": {"bundlePublisher": {"k8sConfigMap": {"enabled": False}}}}, "no trust bundle"),
                ({"spire-server": {"bundlePublisher": {"k8sConfigMap": {"namespace": "other"}}}}, "namespace other"),
                ({"spire-server": {"upstreamAuthority": {"disk": {"enabled": True, "key": "/a/b"}}}},
                 server + "upstreamAuthority.disk.key"),
                ({"spire-server": {"upstreamAuthority": {"disk": {"enabled": True, "secret": {"data": {"key": "k"}}}}}},
                 server + "upstreamAuthority.disk.secret.data"),
                ({"spire-agent": {"kubeletAddress": {"mode": "localhost"}, "hostNetwork": False}},
                 "spire-agent.hostNetwork"),
                ({"spire-server": {"controllerManager": {"identities": {"clusterSPIFFEIDs": {
                    "mine": {"enabled": True, "type": "spike-pilot"}}}}}}, "clusterSPIFFEIDs.mine.type spike-pilot"),
                ({"spire-agent": {"socketPath": "/tmp/agent.sock"}}, "spire-agent.socketPath"),
                ({"global": {"spire": {"recommendations": {"enabled": True, "namespaceLayout": True}}}},
                 "global.spire.recommendations.namespaceLayout"),
                ({"global": {"spire": {"strictMode": True}}}, "global.spire.trustDomain"),
                ({"spiffe-oidc-discovery-provider": {"tls": {"externalSecret": {"enabled": True}}}}, ".tls:")):
            with self.subTest(word):
                self.refused(values, word)


def sample(node):
    kind = node.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    return {"boolean": True, "string": "x", "array": ["x"], "object": {"x": {}}, "integer": 1}[kind]


class Spellings(unittest.TestCase):
    def test_the_guides_and_the_other_spelling_render_the_same(self):
        # A later entry of the CA and its moment of making would differ; nothing else may.
        pairs = [
            ({"spire-server": {"nodeAttestor": {"k8sPsat": {"enabled": True, "audience": ["a"]}}}},
             {"spire-server": {"nodeAttestor": {"k8sPSAT": {"enabled": True, "audience": ["a"]}}}}),
            ({"spire-server": {"notifier": {"k8sbundle": {"enabled": True, "namespace": NAMESPACE}}}},
             {"spire-server": {"notifier": {"k8sBundle": {"enabled": True, "namespace": NAMESPACE}}}}),
            ({"spire-server": {"dataStore": {"sql": {"connectionString": "/run/spire/data/x"}}}},
             {"spire-server": {"dataStore": {"sql": {"file": "/run/spire/data/x"}}}}),
            ({"spire-server": {"ca": {"subject": {"country": ["US"], "organization": ["O"], "commonName": "N"}}}},
             {"spire-server": {"caSubject": {"country": "US", "organization": "O", "commonName": "N"}}}),
            ({"global": {"spire": {"bundleEndpoint": {"address": "0.0.0.0", "port": 8444}}}},
             {"spire-server": {"federation": {"enabled": True, "bundleEndpoint": {"port": 8444}}}}),
            ({"spiffe-oidc-discovery-provider": {"config": {"domains": ["a.example"]}}},
             {"spiffe-oidc-discovery-provider": {"config": {"additionalDomains": ["a.example"]}}}),
            ({"spire-agent": {"config": {"agent": {"sync_interval": "9s"}}}},
             {"spire-agent": {"experimental": {"enabled": True, "syncInterval": "9s"}}}),
        ]
        for guide, other in pairs:
            with self.subTest(str(guide)):
                first, second = template_values(guide), template_values(other)
                self.assertEqual((first.returncode, second.returncode), (0, 0), first.stderr + second.stderr)
                self.assertEqual(first.stdout, second.stdout)


if __name__ == "__main__":
    if not helm.program("helm"):
        sys.exit(f"helm is not in {helm.PROGRAMS}; tests/kubernetes/cluster/build.sh builds it")
    unittest.main(argv=[argument for argument in sys.argv if argument != "--update"])
