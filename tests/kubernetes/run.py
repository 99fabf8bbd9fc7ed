#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tests/kubernetes/run.py [PART...]

`./dev test kubernetes`: everything that needs Kubernetes. The programs of a cluster are built once (build.sh),
then the parts run one after the other:

  chart      what the chart renders and refuses (helm alone)
  api        the chart and its definitions on a real API server
  client     lib/kube on a real API server
  plugins    attestors, notifier and publisher on a real API server
  walk       docs/kubernetes.md, as it is written, on a whole cluster
  guide      what the guides promise beyond that
  policy     network policies, enforced
  refusal    bad resources, values and manifests
  recovery   pods of ours and daemons of the node end and start again

The last line is `N passed, N failed`.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLUSTER = HERE / "cluster/cluster.sh"
PROGRAMS = pathlib.Path(os.environ.get("STEEPLE_K8S_PROGRAMS") or pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "steeple/kubernetes")
TIMEOUT = 900
# The chart's tests read YAML, which Debian's Python has a package for; another Python may come first.
PYTHON = next((python for python in (sys.executable, "/usr/bin/python3") if subprocess.run(
    [python, "-c", "import yaml"], check=False, stderr=subprocess.DEVNULL).returncode == 0), sys.executable)
OUTPUT_SHOWN = 2500
failures = []
ALONE = {
    "chart": "chart/chart_test.py",
    "api": "chart/api_test.py",
    "client": "client/run.py",
    "plugins": "plugins/run.py",
}
ON_CLUSTER = {
    "walk": "guides/walk.py",
    "guide": "guides/guide_test.py",
    "policy": "guides/policy_test.py",
    "refusal": "guides/refusal_test.py",
    "recovery": "guides/recovery_test.py",
}


def call(*command, timeout=TIMEOUT):
    """Exit code and output. What hangs is ended, and says so."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=ROOT, timeout=timeout, check=False, text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return 124, f"{(late.stdout or b'').decode(errors='replace')}\nnot done in {timeout} s"


def counted(code, output):
    """Passed and failed, of `N passed, N failed` or unittest's last lines."""
    ours = re.search(r"(\d+) passed, (\d+) failed\s*$", output)
    ran = re.search(r"^Ran (\d+) tests? in", output, re.M)
    if ours:
        passed, failed = int(ours[1]), int(ours[2])
    elif ran:
        failed = sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", output.splitlines()[-1])))
        passed = int(ran[1]) - failed
    else:
        passed = failed = 0
    return passed, failed or int(code != 0 or passed == 0)


def run(name, script):
    started = time.monotonic()
    code, output = call(PYTHON, HERE / script)
    passed, failed = counted(code, output)
    print(f"    {name}: {passed} passed, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)
    if failed:
        # Told once more at the end, where whoever sees only the end of a log looks.
        failures.append(f"--- {name}\n{output[-OUTPUT_SHOWN:]}")
        print(output[-4 * OUTPUT_SHOWN:], flush=True)
    return passed, failed


def step(what, *command):
    started = time.monotonic()
    code, output = call(*command, timeout=2 * TIMEOUT)
    print(f"    {what}: {'' if code == 0 else 'FAILED, '}{time.monotonic() - started:.0f} s", flush=True)
    if code != 0:
        print(output[-8000:], flush=True)
    return code == 0


def on_cluster(names):
    """The parts that need a whole cluster, on one that is made for them."""
    total = [0, 0]
    try:
        if not step("cluster up", CLUSTER, "up") or not step(
                "images", CLUSTER, "load", *sorted((ROOT / "build/images").glob("*.tar"))):
            return [0, 1]
        for name in names:
            for i, number in enumerate(run(name, ON_CLUSTER[name])):
                total[i] += number
            if total[1]:
                print(call(CLUSTER, "exec", "kubectl", "get", "pods,events", "-A")[1][-6000:], flush=True)
    finally:
        step("cluster down", CLUSTER, "down")
    return total


def main():
    names = sys.argv[1:] or [*ALONE, *ON_CLUSTER]
    unknown = [name for name in names if name not in (*ALONE, *ON_CLUSTER)]
    if unknown:
        sys.exit(f"unknown part {unknown[0]!r}\n{__doc__}")
    passed = failed = 0
    if not step("programs of the cluster", HERE / "cluster/build.sh", PROGRAMS) or not step(
            "images", sys.executable, ROOT / "deploy/images/build.py"):
        failed += 1
        names = []
    for name in [name for name in names if name in ALONE]:
        more = run(name, ALONE[name])
        passed, failed = passed + more[0], failed + more[1]
    if whole := [name for name in names if name in ON_CLUSTER]:
        more = on_cluster(whole)
        passed, failed = passed + more[0], failed + more[1]
    print("\n".join(failures))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
