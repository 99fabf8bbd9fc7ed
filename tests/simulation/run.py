#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Runs the simulation over many seeds on two processes, and a few seeds twice: the same seed must
# give the same run. The last line is `N passed, N failed`.
"""usage: tests/simulation/run.py [--seeds N] [--first N] [--days D] [--program PATH]"""

import argparse
import concurrent.futures
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "build/release/test-bin/simulation"
CHUNK = 5
PROCESSES = 2
TWICE = 6  # seeds that are run two times
TWICE_DAYS = 5
CHUNK_TIMEOUT = 600


def run(program, first, last, days, twice=False):
    command = [str(program), "--seeds", f"{first}..{last}", "--days", str(days)] + (["--twice"] if twice else [])
    try:
        done = subprocess.run(command, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=CHUNK_TIMEOUT, check=False)
        output = done.stdout
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace") + f"\ntimed out after {CHUNK_TIMEOUT} s\n"
    lines = output.splitlines()
    passed = sum(line.startswith("seed ") and " passed " in line for line in lines)
    return passed, last - first + 1 - passed, lines


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    arguments = parser.parse_args()
    if not arguments.program.exists():
        print(f"{arguments.program} is not built: ./dev build release test_programs\n0 passed, 1 failed")
        return 1
    end = arguments.first + arguments.seeds
    chunks = [(first, min(first + CHUNK, end) - 1, arguments.days, False)
              for first in range(arguments.first, end, CHUNK)]
    twice = min(TWICE, arguments.seeds)
    chunks.append((arguments.first, arguments.first + twice - 1, TWICE_DAYS, True))
    started = time.monotonic()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        futures = [pool.submit(run, arguments.program, *chunk) for chunk in chunks]
        for future in concurrent.futures.as_completed(futures):
            good, bad, lines = future.result()
            passed += good
            failed += bad
            if bad:
                # A seed that passed needs no line; what failed tells how to see it again.
                print("\n".join(line for line in lines if " passed " not in line), flush=True)
            done = passed + failed
            if done % 50 < CHUNK or bad:
                print(f"{done}/{arguments.seeds + twice} runs, {failed} failed, "
                      f"{time.monotonic() - started:.0f} s", flush=True)
    if failed:
        print("replay: build/release/test-bin/simulation --seed N prints every event of seed N")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
