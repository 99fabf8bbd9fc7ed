#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Installs the client library into a folder and builds a program against it twice: by its CMake
# package and by pkg-config. The last line is `N passed, N failed`.

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def run(command, **kwargs):
    done = subprocess.run(command, text=True, capture_output=True, check=False, shell=isinstance(command, str), **kwargs)
    return done.returncode, done.stdout + done.stderr


def by_cmake(prefix, folder):
    status, output = run(["cmake", "-S", HERE, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Debug"])
    if status == 0:
        status, more = run(["cmake", "--build", folder])
        output += more
    return (status, output) if status else run([folder / "consumer"])


def by_pkg_config(prefix, folder):
    env = {**os.environ, "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"}
    folder.mkdir()
    status, output = run(f"g++ -o {folder}/consumer {HERE}/main.cc $(pkg-config --cflags --libs steeple-spiffe)", env=env)
    return (status, output) if status else run([folder / "consumer"])


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prefix = folder / "prefix"
        build = subprocess.run(["ninja", "-C", ROOT / "build/release", "spiffe_tls"], capture_output=True, text=True,
                               check=False)
        status, output = run(["cmake", "--install", ROOT / "build/release", "--prefix", prefix])
        if build.returncode != 0 or status != 0:
            print(build.stdout[-2000:] + output + "\n0 passed, 1 failed")
            return 1
        for title, consume in (("CMake package", by_cmake), ("pkg-config", by_pkg_config)):
            status, output = consume(prefix, folder / title.replace(" ", "-"))
            # 3: it linked, ran, and said that there is no agent.
            good = status == 3 and "no identity: " in output
            print(f"{title}: {'works' if good else 'fails: ' + output[-3000:]}")
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
