# SPDX-License-Identifier: Apache-2.0
"""An API server with its etcd, on loopback, in a folder of its own. Nothing runs pods."""

import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import helm

START_SECONDS = 90


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ApiServer:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="chart-api-"))
        self.processes = []
        self.kubeconfig = self.folder / "kubeconfig"

    def start(self):
        try:
            self.start_processes()
        except BaseException:
            self.stop()
            raise

    def start_processes(self):
        folder = self.folder
        clients, peers, port = free_port(), free_port(), free_port()
        self.run("etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--name=one",
                 f"--listen-client-urls=http://127.0.0.1:{clients}",
                 f"--advertise-client-urls=http://127.0.0.1:{clients}",
                 f"--listen-peer-urls=http://127.0.0.1:{peers}",
                 f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
                 f"--initial-cluster=one=http://127.0.0.1:{peers}")
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", folder / "sa.key"],
                       check=True, capture_output=True)
        (folder / "tokens").write_text("secret,admin,admin,system:masters\n")
        self.run("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{clients}", f"--cert-dir={folder}/certificates",
                 "--bind-address=127.0.0.1", f"--secure-port={port}", "--advertise-address=198.51.100.1",
                 "--endpoint-reconciler-type=none", "--service-cluster-ip-range=192.0.2.0/24",
                 "--service-account-issuer=https://kubernetes.default.svc",
                 f"--service-account-key-file={folder}/sa.key",
                 f"--service-account-signing-key-file={folder}/sa.key", f"--token-auth-file={folder}/tokens",
                 "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true")
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{port}",
                                                      "insecure-skip-tls-verify": True}}],
            "users": [{"name": "test", "user": {"token": "secret"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]}))
        end = time.monotonic() + START_SECONDS
        while self.kubectl("get", "--raw", "/readyz").returncode != 0:
            if time.monotonic() > end or any(one.poll() is not None for one in self.processes):
                log = (folder / "kube-apiserver.log").read_text()[-3000:]
                raise RuntimeError(f"the API server does not start:\n{log}")
            time.sleep(0.2)

    def run(self, name, *arguments):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen([helm.program(name), *arguments], stdout=log, stderr=log))

    def kubectl(self, *arguments, **others):
        return helm.call(helm.program("kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments, **others)

    def get(self, *arguments):
        done = self.kubectl("get", *arguments, "--output", "json", "--ignore-not-found")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def helm(self, *arguments):
        return helm.call(helm.program("helm"), "--kubeconfig", str(self.kubeconfig), *arguments)

    def stop(self):
        for one in reversed(self.processes):
            one.kill()
            one.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
