#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# lib/kube against a real API server: starts etcd and kube-apiserver on loopback, runs the test
# program, and starts the API server again whenever the program kills it. Everything stands in one
# temporary folder. The last line is `N passed, N failed`; without the cluster's programs it says so
# and fails nothing.
"""usage: tests/kubernetes/client/run.py [PRESET [GTEST-ARGUMENT...]]"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(os.environ.get("STEEPLE_K8S_PROGRAMS") or pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "steeple/kubernetes")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificate(folder, name, subject, usage, names=None):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
            "-subj", subject, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt",
            "-addext", "basicConstraints=critical,CA:false", "-addext", f"extendedKeyUsage={usage}",
            *(["-addext", f"subjectAltName={names}"] if names else []))


def credentials(folder, port):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
            "-subj", "/CN=test-ca", "-keyout", folder / "ca.key", "-out", folder / "ca.crt")
    # No name for 127.0.0.1: the kubeconfig's tls-server-name must do its part.
    certificate(folder, "server", "/CN=kube-apiserver", "serverAuth", "DNS:kubernetes.test")
    certificate(folder, "admin", "/O=system:masters/CN=admin", "clientAuth")
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", folder / "sa.key")
    (folder / "kubeconfig").write_text(f"""\
apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: ca.crt, tls-server-name: kubernetes.test}}
users:
- name: admin
  user: {{client-certificate: admin.crt, client-key: admin.key}}
contexts:
- name: test
  context: {{cluster: test, user: admin}}
""")


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.port, self.etcd_port, peer = free_port(), free_port(), free_port()
        self.stopping = False
        credentials(folder, self.port)
        etcd, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{peer}"
        self.etcd = self.start("etcd", "--name=test", f"--data-dir={folder}/etcd", "--unsafe-no-fsync",
                               f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                               f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                               f"--initial-cluster=test={peer}")
        self.keeper = threading.Thread(target=self.keep)
        self.server = self.start_server()
        self.keeper.start()

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen([str(CACHE / name), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd=self.folder)

    def start_server(self):
        f = self.folder
        process = self.start(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd_port}", "--bind-address=127.0.0.1",
            f"--secure-port={self.port}", "--service-cluster-ip-range=192.0.2.0/24",
            f"--tls-cert-file={f}/server.crt", f"--tls-private-key-file={f}/server.key",
            f"--client-ca-file={f}/ca.crt", "--service-account-issuer=https://kubernetes.test",
            f"--service-account-key-file={f}/sa.key", f"--service-account-signing-key-file={f}/sa.key",
            f"--cert-dir={f}/certs", "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount")
        (f / "pid.new").write_text(str(process.pid))
        (f / "pid.new").rename(f / "pid")
        return process

    def keep(self):
        while True:
            self.server.wait()
            if self.stopping:
                return
            self.server = self.start_server()

    def wait(self, seconds):
        curl = ["curl", "-fsS", "--cacert", "ca.crt", "--cert", "admin.crt", "--key", "admin.key", "--connect-to",
                f"::127.0.0.1:{self.port}", f"https://kubernetes.test:{self.port}/readyz"]
        end = time.monotonic() + seconds
        while subprocess.run(curl, cwd=self.folder, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > end:
                print((self.folder / "kube-apiserver.log").read_text()[-3000:])
                raise TimeoutError("the API server did not become ready")
            time.sleep(0.2)

    def stop(self):
        self.stopping = True
        for process in (self.server, self.etcd):
            process.kill()
            process.wait()
        self.keeper.join()


def main():
    if not (CACHE / "kube-apiserver").exists() or shutil.which("openssl") is None:
        print("skipped: the cluster's programs are not built (./dev k8s up builds them)")
        print("0 passed, 0 failed")
        return 0
    preset = sys.argv[1] if len(sys.argv) > 1 else "release"
    program = ROOT / "build" / preset / "test-bin/kube_client_peer"
    with tempfile.TemporaryDirectory(prefix="steeple-kube-") as name:
        folder = pathlib.Path(name)
        cluster = Cluster(folder)
        try:
            cluster.wait(120)
            env = dict(os.environ, STEEPLE_KUBE_FOLDER=name)
            done = subprocess.run([str(program), *sys.argv[2:]], env=env, text=True, capture_output=True, timeout=300,
                                  check=False)
        finally:
            cluster.stop()
    passed = len(re.findall(r"^\[ +OK \] \S+\.\S+ \(", done.stdout, re.M))
    failed = len(set(re.findall(r"^\[ +FAILED +\] (\S+\.\S+)", done.stdout, re.M)))
    if done.returncode != 0 or failed:
        print(done.stdout[-8000:] + done.stderr[-2000:])
        failed = failed or 1
    print("\n".join(re.findall(r"^figure: .*", done.stdout, re.M)))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
