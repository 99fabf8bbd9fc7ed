#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: bench/kubernetes/many_pods.py [PODS]

30,000 pods on a real API server (no kubelet: they are bound to nodes that are only objects), a real SPIRE
server and the controller manager: how long until all entries stand, the memory that takes, and how soon a pod
that is made then has its entry. Prints one JSON object; times in seconds.
"""

import http.client
import importlib.util
import json
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("api_server", ROOT / "tests/kubernetes/client/run.py")
api_server = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(api_server)

PODS = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
NODES, NAMESPACES, CONNECTIONS = 300, 100, 6
NEW_PODS, NEW_INTERVAL = 500, 0.02
DEADLINE = 600


class Api:
    def __init__(self, cluster):
        trust = ssl.create_default_context(cafile=cluster.folder / "ca.crt")
        trust.check_hostname = False  # the test's certificate has another name
        trust.load_cert_chain(cluster.folder / "admin.crt", cluster.folder / "admin.key")
        self.connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=trust, timeout=60)

    def post(self, path, body):
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {text[:500]}")


def pod(number, prefix="p"):
    name_space = f"ns-{number % NAMESPACES}"
    return f"/api/v1/namespaces/{name_space}/pods", {
        "metadata": {"name": f"{prefix}-{number}", "labels": {"app": f"app-{number % 500}"}},
        "spec": {"nodeName": f"node-{number % NODES}", "containers": [{"name": "c", "image": "example.org/app:1"}]}}


def fill(cluster, api):
    for i in range(NAMESPACES):
        api.post("/api/v1/namespaces", {"metadata": {"name": f"ns-{i}"}})
    for i in range(NODES):
        api.post("/api/v1/nodes", {"metadata": {"name": f"node-{i}"}})

    def part(first):
        mine = Api(cluster)
        for i in range(first, PODS, CONNECTIONS):
            mine.post(*pod(i))
    threads = [threading.Thread(target=part, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Controller:
    """The program, with the time at which each of its lines came."""

    def __init__(self, folder):
        config = {"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ControllerManagerConfig", "clusterName": "many",
                  "clusterDomain": "cluster.local", "trustDomain": "example.org",
                  "spireServerSocketPath": f"{folder}/server.sock", "metrics": {"bindAddress": "0"}}
        (folder / "controller.json").write_text(json.dumps(config))
        self.created, self.ready = {}, None
        self.process = subprocess.Popen(
            [ROOT / "build/bin/spire-controller-manager", "-config", folder / "controller.json", "-kubeconfig",
             folder / "kubeconfig"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"ENABLE_WEBHOOKS": "false"})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if "Created entry" in line:
                found = re.search(r"pod (\S+?)\"? ", line)
                self.created[found[1] if found else line] = time.monotonic()

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {key: int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1]) / 1024 for key in ("VmRSS", "VmHWM")}


def until(what, holds):
    end = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


def start_server(folder):
    config = {"server": {"trust_domain": "example.org", "bind_address": "127.0.0.1", "bind_port": api_server.free_port(),
                         "socket_path": f"{folder}/server.sock", "data_dir": f"{folder}/server", "log_level": "WARN"},
              "plugins": {"DataStore": {"sql": {"plugin_data": {"database_type": "sqlite3",
                                                                "connection_string": f"{folder}/data.sqlite3"}}},
                          "KeyManager": {"memory": {"plugin_data": {}}}, "NodeAttestor": {"join_token": {"plugin_data": {}}}}}
    (folder / "server.conf").write_text(json.dumps(config))
    return subprocess.Popen([ROOT / "build/bin/spire-server", "run", "-config", folder / "server.conf"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)


def measure(folder, cluster):
    api = Api(cluster)
    fill(cluster, api)
    subprocess.run([api_server.CACHE / "kubectl", f"--kubeconfig={folder}/kubeconfig", "apply", "-f",
                    ROOT / "deploy/chart/spire/crds"], check=True, capture_output=True)
    time.sleep(2)  # until the new kinds are served
    api.post("/apis/spire.spiffe.io/v1alpha1/clusterspiffeids", {
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": "all"},
        "spec": {"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/pod/{{ .PodMeta.Name }}"}})
    begun, controller = time.monotonic(), Controller(folder)
    try:
        until("all entries", lambda: len(controller.created) >= PODS)
        filled, asked = time.monotonic() - begun, {}
        settled = controller.memory()
        for i in range(NEW_PODS):
            path, body = pod(i, "new")
            asked[f"{path.split('/')[4]}/{body['metadata']['name']}"] = time.monotonic()
            api.post(path, body)
            time.sleep(NEW_INTERVAL)
        until("the new entries", lambda: set(asked) <= set(controller.created))
        waits = sorted(controller.created[name] - asked[name] for name in asked)
        return {"pods": PODS, "all_entries_after": filled, "memory_mib": settled, "memory_at_end_mib": controller.memory(),
                "pod_to_entry_p50": waits[len(waits) // 2], "pod_to_entry_p99": waits[len(waits) * 99 // 100],
                "pod_to_entry_most": waits[-1]}
    finally:
        controller.process.kill()
        controller.process.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="steeple-many-") as name:
        folder = pathlib.Path(name)
        cluster = api_server.Cluster(folder)
        server = start_server(folder)
        try:
            cluster.wait(120)
            json.dump(measure(folder, cluster), sys.stdout)
            print()
        finally:
            server.kill()
            server.wait()
            cluster.stop()


if __name__ == "__main__":
    main()
