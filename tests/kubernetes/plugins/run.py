#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Goal: k8s_psat, k8s, k8s_configmap and k8sbundle work with the real thing. Method: spire-server and
# spire-agent beside a real etcd and API server on loopback; the kubelet is a small HTTP server on its
# read-only port, and the workload is a process in a cgroup with a pod's name. The last line is
# `N passed, N failed`; without the cluster's programs it says so and fails nothing.
"""usage: tests/kubernetes/plugins/run.py [BIN-FOLDER]"""

import base64
import http.server
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
SPEC = importlib.util.spec_from_file_location("api_server", ROOT / "tests/kubernetes/client/run.py")
api_server = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(api_server)

NODE_UID_PATH = "/spire/agent/k8s_psat/demo/"
CONTAINER = "ab" * 32
IMAGE = "docker.io/library/app:v1"


class Trial:
    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        self.started = []
        self.passed = self.failed = 0

    def check(self, what, holds, detail=""):
        print(f"{'ok' if holds else 'FAILED'}: {what} {'' if holds else detail}")
        self.passed += bool(holds)
        self.failed += not holds

    def kubectl(self, *arguments, text=None):
        return subprocess.run([str(api_server.CACHE / "kubectl"), f"--kubeconfig={self.folder}/kubeconfig", *arguments],
                              input=text, check=True, capture_output=True, text=True, timeout=60).stdout

    def apply(self, *objects):
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "-f", "-", text=json.dumps(listed))

    def get(self, *what):
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def start(self, program, config):
        path = self.folder / f"{program}.conf"
        path.write_text(json.dumps(config))
        with open(self.folder / f"{program}.log", "wb") as log:
            process = subprocess.Popen([self.programs / program, "run", "-config", path], stdout=log, stderr=log,
                                       cwd=self.folder)
        self.started.append(process)

    def run(self, program, *arguments, before=()):
        return subprocess.run([*before, self.programs / program, *arguments], capture_output=True, text=True,
                              timeout=60, check=False, cwd=self.folder)

    def until(self, holds, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return True
            time.sleep(0.1)
        return False

    def stop(self):
        for process in self.started:
            process.kill()
            process.wait()


def objects(trial):
    meta = {"namespace": "spire"}
    pod = {"serviceAccountName": "spire-agent", "nodeName": "node-1", "containers": [{"name": "a", "image": "a"}]}
    trial.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "spire"}},
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": {"zone": "z1"}}})
    trial.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "spire-agent", **meta}},
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent-1", **meta}, "spec": pod},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pem", **meta}},
                {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                 "metadata": {"name": "hook", "labels": {"trust": "true"}},
                 "webhooks": [{"name": "a.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                               "clientConfig": {"url": "https://127.0.0.1/x"},
                               "rules": [{"apiGroups": ["none"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                          "resources": ["nones"]}]}]},
                {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                 "metadata": {"name": "v1.none.example.org", "labels": {"trust": "true"}},
                 "spec": {"group": "none.example.org", "version": "v1", "groupPriorityMinimum": 1000,
                          "versionPriority": 10, "service": {"name": "none", "namespace": "spire"}}})


def token(trial, audience="spire-server"):
    return trial.kubectl("create", "token", "spire-agent", "-n", "spire", f"--audience={audience}",
                         "--bound-object-kind=Pod", "--bound-object-name=agent-1").strip()


def server_config(trial, port):
    kubeconfig = f"{trial.folder}/kubeconfig"
    return {
        "server": {"trust_domain": "example.org", "bind_address": "127.0.0.1", "bind_port": port,
                   "socket_path": f"{trial.folder}/server.sock", "data_dir": f"{trial.folder}/server",
                   "log_level": "DEBUG", "ca_ttl": "24h"},
        "plugins": {
            "DataStore": {"sql": {"plugin_data": {"database_type": "sqlite3",
                                                  "connection_string": f"{trial.folder}/data.sqlite3"}}},
            "KeyManager": {"memory": {"plugin_data": {}}},
            "NodeAttestor": {"k8s_psat": {"plugin_data": {"clusters": {"demo": {
                "service_account_allow_list": ["spire:spire-agent"], "kube_config_file": kubeconfig,
                "allowed_node_label_keys": ["zone"]}}}}},
            "BundlePublisher": {"k8s_configmap": {"plugin_data": {"clusters": {"demo": {
                "configmap_name": "published", "configmap_key": "bundle.spiffe", "namespace": "spire",
                "format": "spiffe", "kubeconfig_path": kubeconfig, "refresh_hint": "5m"}}}}},
            "Notifier": {"k8sbundle": {"plugin_data": {
                "namespace": "spire", "config_map": "pem", "kube_config_file_path": kubeconfig,
                "webhook_label": "trust", "api_service_label": "trust"}}},
        },
    }


def agent_config(trial, port, kubelet_port):
    return {
        "agent": {"trust_domain": "example.org", "server_address": "127.0.0.1", "server_port": port,
                  "socket_path": f"{trial.folder}/agent.sock", "data_dir": f"{trial.folder}/agent",
                  "trust_bundle_path": f"{trial.folder}/bundle.json", "trust_bundle_format": "spiffe",
                  "log_level": "DEBUG"},
        "plugins": {
            "KeyManager": {"memory": {"plugin_data": {}}},
            "NodeAttestor": {"k8s_psat": {"plugin_data": {"cluster": "demo",
                                                          "token_path": f"{trial.folder}/token"}}},
            "WorkloadAttestor": {"k8s": {"plugin_data": {"kubelet_read_only_port": kubelet_port,
                                                         "poll_retry_interval": "200ms"}}},
        },
    }


class Kubelet(http.server.BaseHTTPRequestHandler):
    pods = {"kind": "PodList", "items": None}
    asked = 0

    def do_GET(self):  # noqa: N802, the name is the base class's
        type(self).asked += 1
        body = json.dumps(self.pods).encode()
        self.send_response(200 if self.path == "/pods" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def bundles(trial):
    def published():
        return trial.get("configmap", "published", "-n", "spire", "--ignore-not-found").get("data") if trial.kubectl(
            "get", "configmap", "published", "-n", "spire", "--ignore-not-found") else None
    trial.check("k8s_configmap publishes the bundle", trial.until(published))
    document = published()["bundle.spiffe"]
    (trial.folder / "bundle.json").write_text(document)
    trial.check("with the refresh hint", json.loads(document)["spiffe_refresh_hint"] == 300, document)
    managers = [m["manager"] for m in trial.get("configmap", "published", "-n", "spire", "--show-managed-fields")
                ["metadata"]["managedFields"]]
    trial.check("under the reference's field manager", managers == ["spire-bundlepublisher-k8s_configmap"], managers)
    pem = trial.run("spire-server", "bundle", "show", "-socketPath", f"{trial.folder}/server.sock").stdout
    trial.check("k8sbundle writes the PEM", trial.until(
        lambda: trial.get("configmap", "pem", "-n", "spire").get("data", {}).get("bundle.crt") == pem))
    encoded = base64.b64encode(pem.encode()).decode()
    trial.check("and the caBundle of labelled webhooks", trial.until(
        lambda: trial.get("validatingwebhookconfiguration", "hook")["webhooks"][0]["clientConfig"].get("caBundle")
        == encoded))
    trial.check("and of labelled APIServices", trial.until(
        lambda: trial.get("apiservice", "v1.none.example.org")["spec"].get("caBundle") == encoded))


def attestation(trial):
    show = ("agent", "list", "-output", "json", "-socketPath", f"{trial.folder}/server.sock")
    refusal = "is invalid for the target audiences"
    trial.check("a token for another audience is refused", trial.until(
        lambda: refusal in (trial.folder / "spire-agent.log").read_text()),
        (trial.folder / "spire-agent.log").read_text()[-600:])
    (trial.folder / "token").write_text(token(trial))
    attested = trial.until(lambda: json.loads(trial.run("spire-server", *show).stdout or "{}").get("agents"))
    trial.check("k8s_psat lets the agent in", attested, (trial.folder / "spire-agent.log").read_text()[-600:])
    agents = json.loads(trial.run("spire-server", *show).stdout).get("agents", [])
    uid = trial.get("node", "node-1")["metadata"]["uid"]
    trial.check("under the id of its node", agents and agents[0]["id"]["path"] == NODE_UID_PATH + uid, agents)
    values = [s["value"] for s in agents[0]["selectors"]] if agents else []
    trial.check("with its selectors", {"cluster:demo", "agent_ns:spire", "agent_node_label:zone:z1"} <= set(values),
                values)
    return NODE_UID_PATH + uid


def workload(trial, parent):
    uid = "11111111-2222-4333-8444-555555555555"
    mount = pathlib.Path("/sys/fs/cgroup")
    top = (mount if (mount / "cgroup.procs").exists() else mount / "pids") / f"steeple-plugins-{os.getpid()}"
    group = top / f"kubepods/pod{uid}/{CONTAINER}"
    pod = {"metadata": {"name": "w", "namespace": "apps", "uid": uid, "labels": {"app": "w"}},
           "spec": {"serviceAccountName": "sa", "nodeName": "node-1"},
           "status": {"containerStatuses": [{"name": "c", "image": IMAGE, "imageID": "sha256:1"}]}}
    Kubelet.pods = {"kind": "PodList", "items": [pod]}
    trial.run("spire-server", "entry", "create", "-parentID", f"spiffe://example.org{parent}", "-spiffeID",
              "spiffe://example.org/w", "-selector", "k8s:ns:apps", "-selector", "k8s:pod-label:app:w", "-selector",
              f"k8s:container-image:{IMAGE}", "-socketPath", f"{trial.folder}/server.sock")
    inside = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    fetch = ("api", "fetch", "x509", "-socketPath", f"{trial.folder}/agent.sock")
    try:
        group.mkdir(parents=True)
        status = pod["status"]["containerStatuses"][0]
        threading.Timer(1, lambda: status.update(containerID=f"containerd://{CONTAINER}")).start()
        trial.until(lambda: "example.org/w" in trial.run("spire-agent", *fetch, before=inside).stdout)
        got = trial.run("spire-agent", *fetch, before=inside)
        trial.check("k8s: a container that is reported late gets its SVID", "spiffe://example.org/w" in got.stdout,
                    got.stdout + got.stderr)
        times = []
        for _ in range(20):
            begin = time.monotonic()
            trial.run("spire-agent", *fetch, before=inside)
            times.append(time.monotonic() - begin)
        print(f"fetch by a known container, the client's process included: median {sorted(times)[10] * 1000:.0f} ms,"
              f" max {max(times) * 1000:.0f} ms, lists asked for in all: {Kubelet.asked}")
        outside = trial.run("spire-agent", *fetch)
        trial.check("a process outside has none", "example.org/w" not in outside.stdout, outside.stdout)
    finally:
        for path in (group, group.parent, group.parent.parent, top):
            if path.exists():
                path.rmdir()


def main():
    if not (api_server.CACHE / "kube-apiserver").exists() or os.geteuid() != 0:
        print("skipped: the cluster's programs are not built (./dev k8s up builds them), or not root")
        print("0 passed, 0 failed")
        return 0
    programs = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/bin").resolve()
    with tempfile.TemporaryDirectory(prefix="steeple-plugins-") as name:
        trial = Trial(pathlib.Path(name), programs)
        cluster = api_server.Cluster(trial.folder)
        kubelet = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
        threading.Thread(target=kubelet.serve_forever, daemon=True).start()
        try:
            cluster.wait(120)
            objects(trial)
            port = api_server.free_port()
            (trial.folder / "token").write_text(token(trial, "somebody-else"))
            trial.start("spire-server", server_config(trial, port))
            bundles(trial)
            trial.start("spire-agent", agent_config(trial, port, kubelet.server_address[1]))
            workload(trial, attestation(trial))
        finally:
            trial.stop()
            cluster.stop()
            kubelet.shutdown()
            if trial.failed:
                for log in ("spire-server.log", "spire-agent.log"):
                    print(f"--- {log}\n{(trial.folder / log).read_text()[-3000:]}")
    print(f"{trial.passed} passed, {trial.failed} failed")
    return 1 if trial.failed else 0


if __name__ == "__main__":
    sys.exit(main())
