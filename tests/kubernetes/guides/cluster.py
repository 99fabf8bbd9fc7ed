# SPDX-License-Identifier: Apache-2.0
"""What the tests on the running cluster share: kubectl and helm in it, waiting with a deadline, images."""

import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CLUSTER = ROOT / "tests/kubernetes/cluster/cluster.sh"
NAMESPACE = "spire-system"
EXAMPLES = "localhost/spire-examples:1.15.3"
SERVER = ("exec", "-n", NAMESPACE, "spire-server-0", "-c", "spire-server", "--")
TIMEOUT = 180
POLL = 0.1

sys.path.insert(0, str(ROOT / "deploy/images"))
import archive  # noqa: E402


class Failed(Exception):
    pass


def node(*command, text=None, timeout=TIMEOUT, cwd="/", check=True):
    """Runs a command inside the cluster's namespaces; its standard output."""
    done = subprocess.run([CLUSTER, "exec", *map(str, command)], input=text, capture_output=True, text=True,
                          timeout=timeout, check=False, cwd=cwd)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout if check else done


def kubectl(*arguments, **options):
    return node("kubectl", *arguments, **options)


def refused(*arguments, **options):
    """The error of a kubectl that must fail."""
    done = kubectl(*arguments, check=False, **options)
    if done.returncode == 0:
        raise Failed(f"not refused: kubectl {' '.join(arguments)}\n{done.stdout}")
    return done.stderr


def apply(*objects):
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def get(*what):
    return json.loads(kubectl("get", *what, "-o", "json"))


def server(*arguments, **options):
    return kubectl(*SERVER, "/opt/spire/bin/spire-server", *arguments, **options)


def entries():
    return json.loads(server("entry", "show", "-output", "json"))["entries"]


def attested_agents():
    return json.loads(server("agent", "list", "-output", "json"))["agents"]


def identity(name):
    """What the pod with the sample workload says of itself."""
    return kubectl("exec", name, "--", "/opt/spire-examples/spiffe-workload", "get-svid", "-timeout", "2s")


def spiffe_id(found):
    return f"spiffe://{found['trust_domain']}{found['path']}"


def pod_named(label, namespace="default"):
    """The name of the youngest pod with this label that is not going away."""
    pods = [pod for pod in get("pods", "-n", namespace, "-l", label)["items"]
            if "deletionTimestamp" not in pod["metadata"]]
    pods.sort(key=lambda pod: pod["metadata"]["creationTimestamp"])
    if not pods:
        raise Failed(f"no pod {label}")
    return pods[-1]["metadata"]["name"]


def eventually(what, look, seconds=60):
    """What `look` returns, once it is true; calls of kubectl may fail meanwhile."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = look()
            if last:
                return last
        except (Failed, subprocess.TimeoutExpired, KeyError, IndexError) as error:
            last = error
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s; last: {last}")
        time.sleep(POLL)


def pod(name, image, labels=None, account="default", namespace="default", command=None, volumes=(), mounts=(),
        containers=()):
    """A pod with the CSI volume in its first container."""
    first = {"name": name, "image": image, "imagePullPolicy": "Never",
             "env": [{"name": "SPIFFE_ENDPOINT_SOCKET", "value": "unix:///spiffe-workload-api/spire-agent.sock"}],
             "volumeMounts": [{"name": "spiffe", "mountPath": "/spiffe-workload-api", "readOnly": True}, *mounts]}
    if command:
        first["command"] = list(command)
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"serviceAccountName": account, "terminationGracePeriodSeconds": 0,
                     "containers": [first, *containers],
                     "volumes": [{"name": "spiffe", "csi": {"driver": "csi.spiffe.io", "readOnly": True}}, *volumes]}}


def account(name, namespace="default"):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def go_image(name, package):
    """Builds a program of the Go tests and loads it as localhost/NAME:1."""
    folder = ROOT / "build/images/tests"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    subprocess.run(["go", "build", "-trimpath", "-o", program, package], check=True, cwd=ROOT / "tests/interop",
                   env={**os.environ, "CGO_ENABLED": "0"})
    target = folder / f"{name}.tar"
    layer = archive.layer_tar({f"/{name}": program, "/etc/passwd": b"spire:x:1000:1000::/:/sbin/nologin\n"})
    archive.write_archive(target, f"localhost/{name}:1", [layer], {"Entrypoint": [f"/{name}"], "User": "1000:1000"})
    subprocess.run([CLUSTER, "load", target], check=True)
