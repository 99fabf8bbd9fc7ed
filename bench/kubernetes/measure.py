#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The inside of `./dev bench kubernetes`: runs within the test cluster, on a release that is installed, and
prints one JSON object of figures, in milliseconds and MiB.

Times of containers are those of their log lines, as containerd stamps them: `spiffe-workload watch` writes
one line when it starts and one for each identity. Times of the API server are those at which a watch told.
"""

import datetime
import http.client
import json
import pathlib
import re
import ssl
import sys
import threading
import time

HOST, PORT, PKI = "198.51.100.1", 6443, "/etc/kubernetes/pki"
SYSTEM = "spire-system"
IMAGE = "localhost/spire-examples:1.15.3"
PROGRAMS = ("spire-server", "spire-agent", "spire-controller-manager", "spiffe-csi-driver", "oidc-discovery-provider")
SINGLE_ROUNDS = 20
MANY = 50
DEADLINE = 60


class Api:
    """One connection to the API server, as its administrator."""

    def __init__(self):
        trust = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
        trust.load_cert_chain(f"{PKI}/admin.crt", f"{PKI}/admin.key")
        self.connection = http.client.HTTPSConnection(HOST, PORT, context=trust, timeout=DEADLINE)

    def call(self, method, path, body=None, raw=False):
        self.connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text}")
        return text if raw else json.loads(text)

    def watch(self, path):
        """(time, type, object) of each event, for ever."""
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        for line in answer:
            event = json.loads(line)
            yield time.time(), event["type"], event["object"]


def pods_path(namespace="default", name="", tail=""):
    return f"/api/v1/namespaces/{namespace}/pods" + (f"/{name}" if name else "") + tail


def pod(name, labels, volume=True):
    container = {"name": "w", "image": IMAGE, "imagePullPolicy": "Never",
                 "env": [{"name": "SPIFFE_ENDPOINT_SOCKET", "value": "unix:///spiffe-workload-api/spire-agent.sock"}],
                 "volumeMounts": [{"name": "s", "mountPath": "/spiffe-workload-api", "readOnly": True}]}
    volumes = [{"name": "s", "csi": {"driver": "csi.spiffe.io", "readOnly": True}}]
    if not volume:
        container, volumes = {**container, "volumeMounts": []}, []
    return {"metadata": {"name": name, "labels": labels},
            "spec": {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}}


def stamped(text):
    """(seconds, line) of each line of a log with time stamps."""
    for line in text.splitlines():
        stamp, _, rest = line.partition(" ")
        whole, _, fraction = stamp.rstrip("Z").partition(".")
        moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp()
        yield moment + float("0." + (fraction or "0")), rest


def log(api, namespace, name, container, since=None):
    more = f"&sinceTime={datetime.datetime.fromtimestamp(since, datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}" if since else ""
    return list(stamped(api.call("GET", pods_path(namespace, name, f"/log?container={container}&timestamps=true{more}"),
                                 raw=True)))


def until(what, look):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except RuntimeError:
            pass  # not there yet
        time.sleep(0.02)
    raise RuntimeError(f"{what}: not within {DEADLINE} s")


def started_and_served(api, name, after=0.0):
    """When the container's first line came, and the first identity after a moment."""
    lines = log(api, "default", name, "w")
    served = [moment for moment, text in lines if text.startswith("SPIFFE ID:") and moment > after]
    return (lines[0][0], served[0]) if served else None


def resource(name, label):
    return {"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": name},
            "spec": {"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/bench/{{ .PodMeta.Name }}",
                     "podSelector": {"matchLabels": {"bench": label}}}}


RESOURCES = "/apis/spire.spiffe.io/v1alpha1/clusterspiffeids"


def remove_pods(api, names):
    for name in names:
        api.call("DELETE", pods_path(name=name))
    until("the pods are gone", lambda: not api.call("GET", pods_path())["items"])


def singles(api):
    """One pod at a time: created → its first identity, and of that what is after the container's start."""
    whole, start, ours, bare = [], [], [], []
    for i in range(SINGLE_ROUNDS):
        name, begun = f"single-{i}", time.time()
        api.call("POST", pods_path(), pod(name, {"bench": "single"}))
        started, served = until("an identity", lambda name=name: started_and_served(api, name))
        whole.append(served - begun)
        start.append(started - begun)
        ours.append(served - started)
        remove_pods(api, [name])
    for i in range(SINGLE_ROUNDS):  # what the cluster takes without us
        name, begun = f"bare-{i}", time.time()
        api.call("POST", pods_path(), pod(name, {}, volume=False))
        lines = until("a container starts", lambda name=name: log(api, "default", name, "w"))
        bare.append(lines[0][0] - begun)
        remove_pods(api, [name])
    return {"single_whole": whole, "single_start": start, "single_after_start": ours, "bare_start": bare}


def create_many(api, label):
    names = [f"{label}-{i}" for i in range(MANY)]
    for name in names:
        api.call("POST", pods_path(), pod(name, {"bench": label}))
    return names


def many(api):
    """Many pods at once: from the last container's start to the last identity. They stay."""
    names = create_many(api, "many")
    times = [until("an identity", lambda name=name: started_and_served(api, name)) for name in names]
    last_start, last_served = max(t[0] for t in times), max(t[1] for t in times)
    return names, {"many_after_last_start": [last_served - last_start],
                   "many_each_after_start": [served - started for started, served in times]}


def agent_deleted(api, names):
    """The agent's pod goes; when each workload has heard from the next one."""
    old = api.call("GET", pods_path(SYSTEM, tail="?labelSelector=app%3Dspire-agent"))["items"][0]["metadata"]["name"]
    begun = time.time()
    api.call("DELETE", pods_path(SYSTEM, old))
    served = [until("an identity of the next agent", lambda name=name: started_and_served(api, name, begun))[1]
              for name in names]
    return {"agent_deleted_all_served": [max(served) - begun]}


def entries_of_resource(api, names):
    """A resource comes for many pods: from the API server's event to the log line of the last entry."""
    seen = {}

    def follow():
        for moment, kind, found in Api().watch(f"{RESOURCES}?watch=1"):
            if kind == "ADDED" and found["metadata"]["name"] == "bench-again":
                seen["at"] = moment
                return
    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    time.sleep(0.5)
    begun = time.time()
    body = resource("bench-again", "many")
    body["spec"]["spiffeIDTemplate"] = "spiffe://{{ .TrustDomain }}/again/{{ .PodMeta.Name }}"
    api.call("POST", RESOURCES, body)
    answered = time.time()

    def all_made():
        made = [moment for moment, text in log(api, SYSTEM, "spire-server-0", "spire-controller-manager", begun - 1)
                if "Created entry" in text and "bench-again" in text]
        return made if len(made) == len(names) else None
    made = until("the entries", all_made)
    follower.join(5)
    api.call("DELETE", f"{RESOURCES}/bench-again")
    return {"resource_to_entries": [max(made) - seen.get("at", answered)]}


def pod_deleted(api, names):
    """From the API server's DELETED of a pod to the log line of its entry's deletion."""
    gone = {}

    def follow():
        for moment, kind, found in Api().watch(pods_path(tail="?watch=1")):
            if kind == "DELETED":
                gone[found["metadata"]["name"]] = moment
                if len(gone) == len(names):
                    return
    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    time.sleep(0.5)
    begun = time.time()
    for name in names:
        api.call("DELETE", pods_path(name=name))
        until("the pod is gone", lambda name=name: name in gone)

    def all_deleted():
        found = {}
        for moment, text in log(api, SYSTEM, "spire-server-0", "spire-controller-manager", begun - 1):
            match = re.search(r'Deleted entry.*/bench/([a-z0-9-]+)"?', text)
            if match:
                found[match[1]] = moment
        return found if set(names) <= set(found) else None
    deleted = until("the entries are gone", all_deleted)
    return {"pod_deleted_to_entry_gone": [deleted[name] - gone[name] for name in names]}


def memory():
    """Resident memory of our processes, by program, in MiB."""
    found = {}
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        name = re.search(r"^Name:\s+(\S+)", text, re.M)[1]
        resident = re.search(r"^VmRSS:\s+(\d+)", text, re.M)
        program = next((one for one in PROGRAMS if one[:15] == name), None)  # the kernel keeps 15 letters
        if resident and program:
            found[program] = found.get(program, 0) + int(resident[1]) / 1024
    return {"memory": found}


def main():
    api, figures = Api(), {}
    until("the old pods are gone", lambda: not api.call("GET", pods_path())["items"])
    figures.update(memory())
    api.call("POST", RESOURCES, resource("bench-single", "single"))
    figures.update(singles(api))
    api.call("POST", RESOURCES, resource("bench-many", "many"))
    names, taken = many(api)
    figures.update(taken)
    figures.update(agent_deleted(api, names))
    figures.update(entries_of_resource(api, names))
    figures.update(pod_deleted(api, names))
    for name in ("bench-single", "bench-many"):
        api.call("DELETE", f"{RESOURCES}/{name}")
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
