#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Builds every fuzz target (*_fuzz.cc beside the parsers) with the sanitizers and runs each for a
# few seconds. The last line is `N passed, N failed`.
"""usage: tests/fuzz/run.py [SECONDS]"""

import concurrent.futures
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/fuzz"


def run(target, seconds):
    done = subprocess.run([str(target), "-seconds", str(seconds)], cwd=BUILD, text=True, errors="replace",
                          capture_output=True, timeout=seconds * 20 + 120, check=False)
    return target.name, done.returncode, done.stdout + done.stderr


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    built = subprocess.run(["./dev", "build", "fuzz", "fuzz"], cwd=ROOT, text=True, capture_output=True, check=False)
    if built.returncode != 0:
        print(built.stdout[-4000:] + built.stderr[-2000:])
        print("0 passed, 1 failed")
        return 1
    passed, failed = 0, 0
    targets = sorted((BUILD / "fuzz").iterdir())
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, status, output in pool.map(lambda t: run(t, seconds), targets):
            if status == 0:
                passed += 1
                print(f"{name}: {output.strip().splitlines()[-1]}", flush=True)
            else:
                failed += 1
                print(f"{name} failed\n{output[-4000:]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
