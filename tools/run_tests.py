#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Runs the suites of `./dev test` and adds up what they say. The last line is `N passed, N failed`.
"""usage: tools/run_tests.py [--seconds N] [SUITE...]

suites (all but unit, in this order, when none is named):
  tidy        house rules
  unit        unit and contract tests without sanitizers, debug build: the quick round
  conformance each clause of the SPIFFE standards, cited by name
  go          process and interop tests: go-spiffe, spire-api-sdk, grpc-go, h2spec
  simulation  whole servers and agents on simulated time and network, 500 seeds
  cli         the command lines, against recorded outputs
  package     the installed client library in somebody else's project
  crash       kill -9 of server and agent under load, 200 rounds
  asan, tsan  unit and contract tests under the sanitizers
  fuzz        each fuzz target for two seconds, or for --seconds N
  kubernetes  the chart, both guides and recoveries on a real cluster; takes root and namespaces
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNIT_TIMEOUT = 600
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}

# The system's protobuf is built without the thread sanitizer, and its header gives maps another layout
# with it: these tests, which read a JSON object of a message, run under the other sanitizers only.
TSAN_SKIPS = {
    "agent_api_test": "ValidationResponse.*",
    "agent_test": "AgentTest.ATokenIsValidForItsAudienceOnly",
}


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.failures = []

    def add(self, passed, failed, name, output=""):
        self.passed += passed
        self.failed += failed
        if failed:
            self.failures.append(name)
            print(f"--- {name} failed\n{output[-6000:]}", flush=True)


def say(text):
    print(f"==> {text}", flush=True)


def run(command, timeout, cwd=ROOT, env=None):
    """Exit status and output; a timeout counts as a failure and says so."""
    try:
        done = subprocess.run(command, cwd=cwd, timeout=timeout, text=True, errors="replace", check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, **(env or {})})
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        text = late.stdout or b""
        return 124, f"{text.decode(errors='replace') if isinstance(text, bytes) else text}\ntimed out after {timeout} s"


def build(preset, *targets):
    say(f"build {preset} {' '.join(targets)}")
    started = time.monotonic()
    process = subprocess.run(["./dev", "build", preset, *targets], cwd=ROOT, check=False, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if process.returncode != 0:
        print(process.stdout[-8000:])
        return False
    print(f"    {time.monotonic() - started:.0f} s", flush=True)
    return True


def count_gtest(output):
    passed = len(re.findall(r"^\[       OK \]", output, re.M))
    failed = len(set(re.findall(r"^\[  FAILED  \] (\S+)[^,]*$", output, re.M)))
    return passed, failed


def gtest(program, preset):
    skip = TSAN_SKIPS.get(program.name) if preset == "tsan" else None
    command = [str(program)] + ([f"--gtest_filter=-{skip}"] if skip else [])
    status, output = run(command, UNIT_TIMEOUT, env=SANITIZER_ENV)
    passed, failed = count_gtest(output)
    if status != 0 and failed == 0:
        failed = 1
    return program.name, passed, failed, output


def unit(tally, preset="dev"):
    if not build(preset, "tests"):
        tally.add(0, 1, f"build {preset}")
        return
    programs = sorted((ROOT / "build" / preset / "test").glob("*_test"))
    say(f"{len(programs)} test programs, {preset}")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, passed, failed, output in pool.map(lambda p: gtest(p, preset), programs):
            tally.add(passed, failed, f"{preset}/{name}", output)
            print(f"    {name}: {passed} passed, {failed} failed", flush=True)


def tidy(tally):
    if not build("release", "proto"):
        tally.add(0, 1, "build proto")
        return
    say("tidy")
    status, output = run([sys.executable, "tools/tidy.py", "--headers"], 900)
    tally.add(int(status == 0), int(status != 0), "tidy", output)


def go(tally):
    if not build("release"):
        tally.add(0, 1, "build release")
        return
    if not build("release", "test_programs"):
        tally.add(0, 1, "build test programs")
        return
    say("Go: processes and interop")
    env = {"STEEPLE_BIN": str(ROOT / "build/bin")}
    _, output = run(["go", "test", "-json", "-timeout", "20m", "./..."], 1500, cwd=ROOT / "tests/interop", env=env)
    passed, failed, texts = 0, 0, {}
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            print(line)
            continue
        name = event.get("Test") or event.get("Package", "")
        if event["Action"] == "output":
            texts.setdefault(name, []).append(event["Output"])
        elif event["Action"] == "pass" and "Test" in event:
            passed += 1
        elif event["Action"] == "fail":
            failed += 1 if "Test" in event else 0
            tally.add(0, 0 if "Test" in event else int(failed == 0), name, "".join(texts.get(name, [])))
            print(f"--- {name} failed\n{''.join(texts.get(name, []))[-4000:]}")
    tally.add(passed, failed, "go", "")
    if passed + failed == 0:
        tally.add(0, 1, "go", output)


def driver(suite, timeout, *arguments):
    """Suites that are one program printing `N passed, N failed` last."""
    def runner(tally):
        if not build("release") or not build("release", "test_programs"):
            tally.add(0, 1, "build release")
            return
        drive(tally, suite, timeout, *arguments)
    return runner


def drive(tally, suite, timeout, *arguments):
    say(suite)
    script = ROOT / "tests" / suite / "run.py"
    status, output = run([sys.executable, str(script), *arguments], timeout)
    match = re.search(r"(\d+) passed, (\d+) failed\s*$", output)
    if not match:
        tally.add(0, 1, suite, output)
        return
    failed = int(match.group(2)) or int(status != 0)
    tally.add(int(match.group(1)), failed, suite, output)
    print(f"    {match.group(0).strip()}", flush=True)


def fuzz(tally, seconds=2):
    if not build("asan", "fuzz"):
        tally.add(0, 1, "build fuzz")
        return
    # Two run at once; one that hangs ends by itself.
    targets = len(list((ROOT / "build/asan/fuzz").iterdir()))
    drive(tally, "fuzz", int(900 + targets * seconds), "--seconds", str(seconds))


def kubernetes(tally):
    """Where no namespaces can be made there can be no cluster: that is said, and proves nothing."""
    probe, _ = run(["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"], 60)
    if probe != 0:
        say("kubernetes: left out, this machine lets nobody make namespaces and mounts")
        return
    driver("kubernetes", 3000)(tally)


SUITES = {
    "tidy": tidy,
    "unit": unit,
    "conformance": driver("conformance", 900),
    "go": go,
    "simulation": driver("simulation", 1800, "--seeds", "500"),
    "cli": driver("cli", 300),
    "package": driver("package", 300),
    "crash": driver("crash", 1200),
    "asan": lambda tally: unit(tally, "asan"),
    "tsan": lambda tally: unit(tally, "tsan"),
    "fuzz": fuzz,
    "kubernetes": kubernetes,
}

# The sanitizers run what `unit` runs.
ONLY_WHEN_NAMED = ("unit",)


def main():
    names = sys.argv[1:]
    if "-h" in names or "--help" in names:
        print(__doc__)
        return 0
    if "--seconds" in names:
        at = names.index("--seconds")
        seconds = float(names[at + 1])
        SUITES["fuzz"] = lambda tally: fuzz(tally, seconds)
        del names[at:at + 2]
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"unknown suite {unknown[0]!r}\n{__doc__}", file=sys.stderr)
        return 2
    tally = Tally()
    for name in names or [suite for suite in SUITES if suite not in ONLY_WHEN_NAMED]:
        started = time.monotonic()
        SUITES[name](tally)
        print(f"    {name}: {time.monotonic() - started:.0f} s", flush=True)
    for failure in tally.failures:
        print(f"failed: {failure}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
