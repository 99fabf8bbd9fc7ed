#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: walk.py [--record] [PAGE]

Follows docs/kubernetes.md on the running cluster as a reader would, and compares what is printed.

Blocks marked `yaml NAME` are files that the reader saves. In blocks marked `console`, a line that begins
with `$ ` is typed, with the lines that continue it (a backslash, a here document); what follows is what
must be seen, where `…` stands for any text of a line, and a line with nothing else for any lines. Spaces
count as one. --record writes into the page what is seen instead, but for lines that agree already.
"""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import time

from cluster import CLUSTER, ROOT

PAGE = ROOT / "docs/kubernetes.md"
FOLDER = ROOT / "build/walk"
TIMEOUT = 120
LOOK_AGAIN = 15  # seconds in which what is only looked at may still become what the page shows
ANY = "…"


@dataclasses.dataclass
class Command:
    line: int  # where its output begins in the page
    text: str
    expected: list


@dataclasses.dataclass
class File:
    name: str
    text: str


def commands(block, first):
    found, i = [], 0
    while i < len(block):
        if not block[i].startswith("$ "):
            raise SystemExit(f"line {first + i}: a console block begins with a command")
        text, i = [block[i][2:]], i + 1
        until = re.search(r"<<-?'?(\w+)'?", text[0])
        while i < len(block) and (text[-1].endswith("\\") or until):
            text.append(block[i])
            i += 1
            if until and text[-1] == until[1]:
                until = None
        begin = i
        while i < len(block) and not block[i].startswith("$ "):
            i += 1
        found.append(Command(first + begin, "\n".join(text), block[begin:i]))
    return found


def steps(lines):
    """Headings (text), files and commands, in the page's order."""
    found, i = [], 0
    while i < len(lines):
        fence = re.match(r"^```(\w+)(?: (\S+))?$", lines[i])
        if lines[i].startswith("## "):
            found.append(lines[i][3:])
        elif fence:
            end = lines.index("```", i + 1)
            if fence[1] == "console":
                found += commands(lines[i + 1:end], i + 1)
            elif fence[2]:
                found.append(File(fence[2], "\n".join(lines[i + 1:end]) + "\n"))
            i = end
        i += 1
    return found


def pattern(line):
    words = re.split(r"\s+", line.strip())
    return r"\s+".join(".*".join(map(re.escape, word.split(ANY))) for word in words)


def agrees(expected, seen):
    """Whether the lines seen are the lines expected; several lines may stand for `…` alone."""
    if not expected:
        return not seen
    if expected[0].strip() == ANY:
        return any(agrees(expected[1:], seen[i:]) for i in range(len(seen) + 1))
    return bool(seen) and bool(re.fullmatch(pattern(expected[0]), seen[0].strip())) and agrees(expected[1:], seen[1:])


def run(command):
    return subprocess.run([CLUSTER, "exec", "bash", "-o", "pipefail", "-c", command.text], cwd=FOLDER, check=False,
                          timeout=TIMEOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def only_looks(command):
    return command.text.startswith("kubectl get ") or command.text.endswith((" entry list", " entry count"))


def followed(command):
    """What the command prints; a look is repeated for a while, as a reader would."""
    end = time.monotonic() + LOOK_AGAIN
    done = run(command)
    while only_looks(command) and not shows(command, done) and time.monotonic() < end:
        time.sleep(0.5)
        done = run(command)
    return done


def shows(command, done):
    seen = done.stdout.rstrip("\n").split("\n") if done.stdout else []
    return done.returncode == 0 and (not command.expected or agrees(command.expected, seen))


def judge(command, done, where):
    """Nothing expected: its end alone counts."""
    if not shows(command, done):
        print(f"--- {where}: {command.text}\nexit code {done.returncode}\n{done.stdout}{done.stderr}--- instead of\n"
              + "\n".join(command.expected), flush=True)
        return False
    return True


def main():
    arguments = [word for word in sys.argv[1:] if word != "--record"]
    record = "--record" in sys.argv
    page = pathlib.Path(arguments[0]) if arguments else PAGE
    lines = page.read_text().split("\n")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "deploy").symlink_to(ROOT / "deploy")
    passed = failed = moved = 0
    for step in steps(list(lines)):
        if isinstance(step, str):
            print(f"    {step}", flush=True)
        elif isinstance(step, File):
            (FOLDER / step.name).write_text(step.text)
        else:
            started = time.monotonic()
            done = followed(step)
            good = judge(step, done, f"{page.name}:{step.line}")
            passed, failed = passed + good, failed + (not good)
            print(f"      {'ok' if good else 'FAILED'} {time.monotonic() - started:5.1f} s  {step.text.splitlines()[0]}", flush=True)
            if record and not good:
                new = done.stdout.rstrip("\n").split("\n")
                lines[step.line + moved:step.line + moved + len(step.expected)] = new
                moved += len(new) - len(step.expected)
    if record:
        page.write_text("\n".join(lines))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
