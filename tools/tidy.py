#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# House rules as a test: file heads, include layers, length, banned calls, headers that compile
# alone. Prints `path:line: error: what is wrong, use what instead` and ends with a count.
"""usage: tools/tidy.py [--headers]   (--headers compiles each header on its own, cached by content)"""

import concurrent.futures
import hashlib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES_MAX = 800
COLUMNS_MAX = 100
HEAD_LINES_MAX = 15

CODE = (".h", ".cc")
COMMENT = {".h": "//", ".cc": "//", ".proto": "//", ".go": "//", ".py": "#", ".sh": "#"}

# (pattern, what to use instead, path prefixes where it is allowed)
BANNED = [
    (r"\bco_(await|yield|return)\b", "callbacks or workers: g++ 12 miscompiles coroutines", ()),
    (r"\bstd::(recursive_|shared_)?mutex\b", "Guarded<T>", ("lib/base/", "lib/io/")),
    (r"\bstd::j?thread\b", "Workers or a Loop", ("lib/io/",)),
    (r"\b(system_clock|steady_clock)::now\b", "the injected Clock", ("lib/base/clock.cc",)),
    (r"#include <openssl/", "lib/crypto, lib/x509, lib/jose or lib/tls",
     ("lib/crypto/", "lib/x509/", "lib/jose/", "lib/tls/", "spiffe/tls/", "spiffe/examples/")),
    (r"\[=\]", "a capture list that names what it takes", ()),
    (r"(?<![\w.>])(new|delete)\s+[A-Za-z_:]", "make_unique", ()),
    (r"\bstd::(cout|cerr)\b", "Logger, or the injected streams of lib/cli",
     ("lib/cli/environment.cc",)),
    (r"\bthrow\b(?!\(\))", "Result", ()),
    (r"\b(sleep_for|sleep_until|usleep)\b", "a timer of the loop", ()),
    (r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", "TODO(#issue)", ("tools/tidy.py",)),
    (r"#include <(format|print|generator)>", "libfmt", ()),
]
# What tests and benchmarks may use all the same: threads that race, OpenSSL as a judge, real waits
# of a load program.
TEST_MAY = ("openssl", "thread", "sleep")
# The reference's table definitions stand as SQLite keeps them.
LONG_LINES = ("server/datastore/schema.cc",)
TEST_FILE = re.compile(r"(_test|_bench|_fuzz)\.cc$|^tests/|^bench/|/fake_")


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True, capture_output=True,
                         check=True).stdout
    return [p for p in out.splitlines() if (ROOT / p).is_file()]


def strip_code(line):
    """Without string literals and comments, so that prose may name what code may not use."""
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    return re.sub(r"//.*", "", line)


def head(path, lines, problems):
    mark = COMMENT[path.suffix]
    first = 1 if lines and lines[0].startswith("#!") else 0
    if len(lines) <= first or lines[first] != f"{mark} SPDX-License-Identifier: Apache-2.0":
        problems.append((path, first + 1, "the SPDX line is missing", f"{mark} SPDX-License-Identifier: Apache-2.0"))
        return
    if path.suffix not in CODE + (".proto",):
        return
    count = 0
    for line in lines[first + 2:]:
        if not line.startswith(mark):
            break
        count += 1
    if count == 0 and path.suffix == ".cc" and (ROOT / path.with_suffix(".h")).exists():
        return  # its header says what it is for
    if lines[first + 1:first + 2] != [""] or count == 0:
        problems.append((path, 3, "the purpose of the file is missing", "a blank line, then what this file is for"))
    elif count > HEAD_LINES_MAX:
        problems.append((path, 3, f"the head has {count} lines", f"at most {HEAD_LINES_MAX}"))


def layers():
    lines = (ROOT / "tools/layers.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def layer_of(path, order):
    best = None
    for index, prefix in enumerate(order):
        if path == prefix or path.startswith(prefix + "/") or path.startswith(prefix + "."):
            if best is None or len(prefix) > len(order[best]):
                best = index
    return best


def includes(path, lines, order, problems):
    own = layer_of(path.as_posix(), order)
    is_test = TEST_FILE.search(path.as_posix())
    for number, line in enumerate(lines, 1):
        match = re.match(r'#include "([^"]+)"', line)
        if not match or is_test:
            continue
        other = layer_of(match.group(1), order)
        if other is None and not match.group(1).endswith(".pb.h"):
            problems.append((path, number, f'"{match.group(1)}" is in no layer', "tools/layers.txt"))
        elif own is not None and other is not None and other > own:
            problems.append((path, number, f"{order[own]} includes {order[other]}, an arrow that points up",
                             "a callback or a lower home"))


def code(path, lines, problems):
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and path.as_posix() not in LONG_LINES:
            problems.append((path, number, f"the line has {len(line)} columns", f"at most {COLUMNS_MAX}"))
        plain = strip_code(line)
        for pattern, instead, allowed in BANNED:
            if re.search(pattern, plain) and not path.as_posix().startswith(allowed or ("\0",)):
                if TEST_FILE.search(path.as_posix()) and any(word in pattern for word in TEST_MAY):
                    continue
                if re.search(r"=\s*delete", plain) and "delete" in pattern:
                    continue
                problems.append((path, number, f"{re.search(pattern, plain).group(0)!r} is banned", instead))


# What stands before the brace of a block, where an initialiser's has a type, a name or a bracket.
BLOCK = re.compile(r"([);{}:]|\b(else|do|const|override|noexcept|mutable)|->\s*[\w:<>\s,*&]+)$")


def initialiser_around(text, at):
    """Whether the place is inside the braces of an initialiser, within its statement."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if text[i] in ")]}":
            depth += 1
        elif text[i] in "([{":
            if depth > 0:
                depth -= 1
            elif text[i] == "{":
                return not BLOCK.search(text[:i].rstrip())
        elif text[i] == ";" and depth == 0:
            return False
    return False


def braces(path, lines, problems):
    text = "\n".join(strip_code(line) for line in lines)
    for match in re.finditer(r"\bTRY\(", text):
        if not TEST_FILE.search(path.as_posix()) and initialiser_around(text, match.start()):
            problems.append((path, text.count("\n", 0, match.start()) + 1,
                             "TRY inside the braces of an initialiser: g++ 12 leaks what is before it",
                             "a statement of its own"))


def text_rules():
    problems = []
    order = layers()
    for name in tracked():
        path = pathlib.Path(name)
        if path.suffix not in COMMENT and path.name != "dev":
            continue
        lines = (ROOT / path).read_text().splitlines()
        if path.suffix in COMMENT:
            head(path, lines, problems)
        if len(lines) > LINES_MAX:
            problems.append((path, len(lines), f"{len(lines)} lines", f"at most {LINES_MAX}: find the seam"))
        if path.suffix in CODE:
            if path.suffix == ".h" and "#pragma once" not in lines:
                problems.append((path, 1, "#pragma once is missing", "it"))
            includes(path, lines, order, problems)
            code(path, lines, problems)
            braces(path, lines, problems)
    return problems


def compile_alone(path):
    """A header must bring what it needs; without the precompiled header, so that a gap shows."""
    source = ROOT / path
    done = subprocess.run(
        ["g++", "-std=gnu++23", "-fsyntax-only", "-w", "-I.", "-Ibuild/release/gen", "-x", "c++", str(source)],
        cwd=ROOT, text=True, capture_output=True, check=False)
    return done.returncode, done.stderr


def headers():
    problems = []
    names = [p for p in tracked() if p.endswith(".h")]
    # A header can break through any other, so one digest covers them all.
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + (ROOT / name).read_bytes())
    stamp = ROOT / "build/.headers-compile-alone"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return problems
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, (status, stderr) in zip(names, pool.map(compile_alone, names)):
            if status != 0:
                first = next((l for l in stderr.splitlines() if "error" in l), stderr[:200])
                problems.append((pathlib.Path(name), 1, f"does not compile alone: {first}", "the missing include"))
    if not problems:
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest.hexdigest())
    return problems


def main():
    problems = text_rules()
    if "--headers" in sys.argv[1:]:
        problems += headers()
    for path, line, what, instead in problems:
        print(f"{path}:{line}: error: {what}, use {instead}")
    print(f"tidy: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
