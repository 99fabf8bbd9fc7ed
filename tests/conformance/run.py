#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# The conformance suite: the library's clauses (conformance_test), the daemons' (Go, in daemons/), and
# that each test which docs/conformance.md names exists. The last line is `N passed, N failed`.
"""usage: run.py [TEST-BIN]   (default: build/test-bin; the programs under test are in ../bin beside it)"""

import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TIMEOUT = 600


def run(command, **kwargs):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=TIMEOUT, **kwargs)
    return done.returncode, done.stdout


def library(test_bin):
    status, output = run([test_bin / "conformance_test"])
    passed = len(re.findall(r"^\[       OK \]", output, re.M))
    failed = len(set(re.findall(r"^\[  FAILED  \] (\S+) \(", output, re.M)))
    if status != 0 or passed == 0:
        print(output[-6000:])
        failed = max(failed, 1)
    return passed, failed


def daemons(test_bin):
    env = {**os.environ, "STEEPLE_BIN": str(test_bin.parent / "bin")}
    status, output = run(["go", "test", "-count=1", "-json", "./..."], cwd=HERE, env=env)
    passed, failed, texts = 0, 0, {}
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            print(line)
            continue
        name = event.get("Test", "")
        if event["Action"] == "output":
            texts.setdefault(name, []).append(event["Output"])
        elif event["Action"] == "pass" and name:
            passed += 1
        elif event["Action"] == "fail" and name:
            failed += 1
            print(f"--- {name} failed\n{''.join(texts.get(name, []))[-4000:]}")
    if (status != 0 or passed == 0) and failed == 0:
        print(output[-4000:])
        failed = 1
    return passed, failed


def table():
    """A clause is proven only by a test that is there: `Suite.Name` of GoogleTest, `TestName` of Go."""
    sources = "\n".join(path.read_text() for pattern in ("*_test.cc", "*_test.go") for path in ROOT.rglob(pattern)
                        if "build" not in path.relative_to(ROOT).parts)
    known = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", sources, re.M)}
    known |= set(re.findall(r"^func (Test\w+)\(", sources, re.M))
    named = set(re.findall(r"`(\w+\.\w+|Test\w+)`", (ROOT / "docs/conformance.md").read_text()))
    gone = sorted(named - known)
    for name in gone:
        print(f"docs/conformance.md names {name}, which does not exist")
    own = {name for name in known if "Clause." in name}
    own |= set(re.findall(r"^func (Test\w+)\(", "\n".join(p.read_text() for p in HERE.rglob("*_test.go")), re.M))
    unlisted = sorted(own - named)
    for name in unlisted:
        print(f"{name} is not in docs/conformance.md")
    good = bool(named) and not gone and not unlisted
    return int(good), int(not good)


def main():
    test_bin = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/test-bin").absolute()
    passed = failed = 0
    for part in (library, daemons):
        good, bad = part(test_bin)
        passed, failed = passed + good, failed + bad
    good, bad = table()
    passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
