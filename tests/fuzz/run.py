#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Builds every fuzz target (*_fuzz.cc beside the parsers) with the sanitizers and runs each for a
# short time, two at once. A finding is left in build/asan/crash-<target>, which the target replays as
# its argument. The last line is `N passed, N failed`.
"""usage: tests/fuzz/run.py [--seconds N] [--seed N] [--list] [TARGET...]

  --seconds N  of CPU time for each target (default 2)
  --seed N     of the mutations (default 1)
  --list       the targets, and nothing else
"""

import argparse
import concurrent.futures
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/asan"


def targets_of(names):
    """From the sources, so that a program of a target that is gone does not run."""
    found = sorted(path.stem for path in ROOT.rglob("*_fuzz.cc") if path.relative_to(ROOT).parts[0] != "build")
    unknown = set(names) - set(found)
    if unknown or len(found) != len(set(found)):
        sys.exit(f"no such target, or two of one name: {sorted(unknown) or found}")
    return list(names) or found


def run(target, seconds, seed):
    command = [str(BUILD / "fuzz" / target), "-seconds", str(seconds), "-seed", str(seed)]
    try:
        done = subprocess.run(command, cwd=BUILD, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=seconds * 20 + 120, check=False)
    except subprocess.TimeoutExpired:
        return target, 124, "it does not end"
    return target, done.returncode, done.stdout + done.stderr


def main():
    parser = argparse.ArgumentParser(usage=__doc__.removeprefix("usage: "))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("targets", nargs="*")
    args = parser.parse_args()
    targets = targets_of(args.targets)
    if args.list:
        print("\n".join(targets))
        return 0
    built = subprocess.run(["./dev", "build", "asan", *(args.targets or ["fuzz"])], cwd=ROOT, text=True,
                           capture_output=True, check=False)
    if built.returncode != 0:
        print(built.stdout[-4000:] + built.stderr[-2000:])
        print("0 passed, 1 failed")
        return 1
    passed, failed = 0, 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, status, output in pool.map(lambda t: run(t, args.seconds, args.seed), targets):
            if status == 0:
                passed += 1
                print(f"{name}: {output.strip().splitlines()[-1]}", flush=True)
            else:
                failed += 1
                print(f"{name} failed with {status}\n{output[-4000:]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
