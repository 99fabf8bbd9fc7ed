#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev bench kubernetes`: the Kubernetes table, on a test cluster that is made for it.

Installs the chart several times, then lets measure.py look from inside; writes docs/benchmarks-kubernetes.md.
"""

import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tarfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/kubernetes/guides"))

import cluster  # noqa: E402
import install  # noqa: E402

OUT = ROOT / "docs/benchmarks-kubernetes.md"
INSTALLS = 3
IMAGES = ("spire-server", "spire-agent", "spire-controller-manager", "spiffe-csi-driver", "spiffe-helper",
          "oidc-discovery-provider")
MIB = 2**20
HEAD = """# Benchmarks on Kubernetes

`./dev bench kubernetes` makes a test cluster of one node, installs the chart with the guide's values, measures
and writes this file. All of the cluster (etcd, API server, controllers, kubelet, containerd) shares the cores
with what is measured. A pod without the CSI volume, the same but for that, tells what the cluster alone takes.

- Identity after the container's start: from the first line of the container's log to the line with its identity, as
  containerd stamps them. The pod is known to nobody before; the entry is made meanwhile.
- Entries of a new ClusterSPIFFEID: from the API server's event of the resource to the controller manager's log line of
  the last entry. Entry of a deleted pod: from the event of the pod's end to the log line.
- 30,000 pods: on a real API server and a real SPIRE server, bound to nodes that are only objects; then 500 new ones, at
  most 50 a second.
- Memory is resident memory, some time after the install, before the load. Images: what the archives hold, the shared
  layer once.
"""


def call(*command):
    subprocess.run([str(word) for word in command], check=True)


def image_size():
    """MiB of all images, each layer once."""
    layers = {}
    for name in IMAGES:
        with tarfile.open(ROOT / f"build/images/{name}.tar") as archive:
            for member in archive:
                if member.name.endswith(".tar"):
                    layers[member.name] = member.size
    return sum(layers.values()) / MIB


def installs():
    took = []
    for _ in range(INSTALLS):
        started = time.monotonic()
        install.guide()
        took.append(time.monotonic() - started)
        if len(took) < INSTALLS:
            install.remove()
    return took


def p50_most(values, unit=1000, digits=0):
    return f"p50 {statistics.median(values) * unit:.{digits}f} ms, most {max(values) * unit:.{digits}f} ms ({len(values)} times)"


def rows(figures, took, many):
    memory, images = figures["memory"], image_size()
    after = figures["single_after_start"]
    spent = [(
        "`helm upgrade --install --wait`", f"{', '.join(f'{one:.1f}' for one in took)} s", "≤ 12 s", max(took) <= 12), (
        "a pod is made → its identity, one at a time", p50_most(figures["single_whole"]), "p50 ≤ 700 ms",
        statistics.median(figures["single_whole"]) <= 0.7), (
        "… after its container's start", p50_most(after), "p50 ≤ 150 ms", statistics.median(after) <= 0.15), (
        "a pod is made → its container starts; without the CSI volume",
        f"{p50_most(figures['single_start'])}; {p50_most(figures['bare_start'])}", "≤ 50 ms between",
        statistics.median(figures["single_start"]) - statistics.median(figures["bare_start"]) <= 0.05), (
        "50 pods at once: the last identity after the last container's start",
        f"{figures['many_after_last_start'][0] * 1000:.0f} ms", "≤ 500 ms", figures["many_after_last_start"][0] <= 0.5), (
        "… each after its own start", p50_most(figures["many_each_after_start"]), "", None), (
        "the agent's pod is deleted → 50 workloads have heard from the next",
        f"{figures['agent_deleted_all_served'][0]:.2f} s", "≤ 1.5 s", figures["agent_deleted_all_served"][0] <= 1.5), (
        "a ClusterSPIFFEID for 50 pods → all entries", f"{figures['resource_to_entries'][0] * 1000:.0f} ms", "≤ 50 ms",
        figures["resource_to_entries"][0] <= 0.05), (
        "a pod is gone → its entry is gone", p50_most(figures["pod_deleted_to_entry_gone"]), "p50 ≤ 50 ms",
        statistics.median(figures["pod_deleted_to_entry_gone"]) <= 0.05), (
        "idle memory of all components", f"{sum(memory.values()):.1f} MiB ("
        + ", ".join(f"{name} {size:.1f}" for name, size in sorted(memory.items())) + ")", "≤ 60 MiB",
        sum(memory.values()) <= 60), (
        "all images", f"{images:.1f} MiB", "≤ 60 MiB", images <= 60), (
        f"controller manager, {many['pods']:,} pods: all entries set", f"{many['all_entries_after']:.1f} s", "", None), (
        "… its memory", f"{many['memory_at_end_mib']['VmHWM']:.0f} MiB at most", "≤ 150 MiB",
        many["memory_at_end_mib"]["VmHWM"] <= 150), (
        "… a new pod → its entry", f"p50 {many['pod_to_entry_p50'] * 1000:.0f} ms, p99 {many['pod_to_entry_p99'] * 1000:.0f} ms",
        "p99 ≤ 2 s", many["pod_to_entry_p99"] <= 2)]
    verdict = {True: "yes", False: "**no**", None: ""}
    lines = ["| Work | Measured | Bar | Met |", "|---|---|---|---|"]
    return lines + [f"| {work} | {measured} | {bar} | {verdict[met]} |" for work, measured, bar, met in spent]


def main():
    load = os.getloadavg()[0]
    call(cluster.CLUSTER, "down")
    call(cluster.CLUSTER, "up")
    try:
        call(cluster.CLUSTER, "load", *sorted((ROOT / "build/images").glob("*.tar")))
        took = installs()
        print("installs:", took, flush=True)
        time.sleep(20)  # what a start needs is given back
        figures = json.loads(cluster.node("python3", ROOT / "bench/kubernetes/measure.py", timeout=900))
    finally:
        call(cluster.CLUSTER, "down")
    many = json.loads(subprocess.run([sys.executable, ROOT / "bench/kubernetes/many_pods.py"], check=True,
                                     capture_output=True, text=True).stdout)
    text = [HEAD, f"Measured {datetime.date.today()} on {os.cpu_count()} cores, Linux {platform.release()}; "
            f"load average when the run began: {load:.1f}.", "", *rows(figures, took, many), ""]
    OUT.write_text("\n".join(text))
    print("\n".join(text[3:]))


if __name__ == "__main__":
    main()
