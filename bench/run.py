#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what exists and writes the table of docs/benchmarks.md.

  ./dev bench                        builds, then runs this
  python3 bench/run.py [--programs FOLDER] [--out FILE] [--entries N] [--only raw|server|agent|scale]
                       [--build FOLDER]

CPU time is the process's own, from /proc/<pid>/task/*/schedstat. The programs run in a temporary
folder on loopback. Whole run: a few minutes.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import fixture  # noqa: E402
import table  # noqa: E402

STEP_SECONDS_MAX = 180
START_ROUNDS = 10
FLEET_AGENTS = 1_000
FLEET_ENTRIES = 100_000

STARTED = time.monotonic()
BUILD = os.path.join(ROOT, "build/release")  # --build


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def take(figures, process, until=None):
    """Figures as they are printed: all, or up to the one of this name."""
    for line in process.stdout:
        figure = json.loads(line)
        name = figure.pop("name")
        figures[name] = figure
        say(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in figure.items()))
        if name == until:
            return
    if until:
        raise RuntimeError(f"no figure {until}")


def load(figures, verb, *arguments):
    """Runs one measurement of the load program and takes its figures as they come."""
    process = subprocess.Popen(
        [os.path.join(BUILD, "bench-bin/load"), verb, *map(str, arguments)],
        stdout=subprocess.PIPE, text=True)
    try:
        take(figures, process)
        if process.wait(STEP_SECONDS_MAX) != 0:
            raise RuntimeError(f"load {verb} failed")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def micro(figures, program, arguments, wanted, copies=1):
    """Figures out of a micro benchmark's print: name -> pattern with one number. Several copies run
    at once; their mean counts."""
    processes = [subprocess.Popen([os.path.join(BUILD, program), *arguments],
                                  stdout=subprocess.PIPE, text=True) for _ in range(copies)]
    try:
        texts = [process.communicate(timeout=STEP_SECONDS_MAX)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    for name, pattern in wanted.items():
        values = [float(re.search(pattern, text).group(1)) for text in texts]
        figures[name] = {"value": sum(values) / copies}
        say(f"  {name}: {figures[name]['value']}")


def measure_raw(figures):
    say("raw limits: OpenSSL, SQLite, an empty call")
    micro(figures, "lib/jose/crypto_bench", [],
          {"sign": r"OpenSSL P-256 sign\s+([\d.]+) us",
           "verify": r"OpenSSL P-256 verify\s+([\d.]+) us"},
          copies=os.cpu_count())
    micro(figures, "server/registration/datastore_bench", ["500"],
          {"sqlite_commits": r"one row a commit\s+(\d+) commits/s",
           "sqlite_rows": r"batches, no indexes\s+(\d+) entries/s"})
    load(figures, "empty-call")


def start_times(figures, world, name):
    load(figures, "start", "--name", f"{name}_start", "--socket", world.socket_of(name),
         "--rounds", START_ROUNDS, "--", *world.command(name))


def measure_server(figures, world, entries):
    say("server: start to healthy")
    start_times(figures, world, "server")
    say("server: idle")
    pid = world.start("server")
    load(figures, "idle", "--pid", pid, "--name", "server_idle", "--seconds", 3)
    say("server: at work")
    load(figures, "server", "--pid", pid, "--socket", world.socket_of("server"), "--address",
         "127.0.0.1", "--port", world.port, "--trust-domain", fixture.DOMAIN, "--entries", entries)
    world.stop("server")
    say("server: idle with all entries, started anew")
    pid = world.start("server")
    load(figures, "idle", "--pid", pid, "--name", "server_full", "--seconds", 5)
    held = int(re.search(r"(\d+)", world.server_says("entry", "count")).group(1))
    grown = figures["server_full_rss_kib"]["value"] - figures["server_idle_rss_kib"]["value"]
    figures["server_entry_bytes"] = {"value": max(grown, 0) * 1024 / held}


def measure_agent(figures, world):
    if "server" not in world.running:
        world.start("server")
    world.write_bundle()
    token = world.join_token()
    say("agent: attests, idle")
    pid = world.start("agent", "-joinToken", token)
    load(figures, "idle", "--pid", pid, "--name", "agent_idle", "--seconds", 5)
    say("agent: at work")
    load(figures, "agent", "--pid", pid, "--socket", world.socket_of("agent"), "--admin",
         world.socket_of("server"), "--trust-domain", fixture.DOMAIN, "--parent",
         f"/spire/agent/join_token/{token}")
    world.stop("agent")
    say("agent: start to serving")
    start_times(figures, world, "agent")


def measure_scale(figures, programs):
    """An operator's change until a waiting workload has it, in a fleet."""
    with fixture.Fixture(programs) as world:
        say(f"scale: {FLEET_AGENTS:,} agents and {FLEET_ENTRIES:,} entries")
        server = world.start("server")
        world.write_bundle()
        fleet = subprocess.Popen(
            [os.path.join(BUILD, "bench-bin/load"), "fleet", "--pid", str(server), "--socket",
             world.socket_of("server"), "--address", "127.0.0.1", "--port", str(world.port),
             "--trust-domain", fixture.DOMAIN, "--agents", str(FLEET_AGENTS), "--entries",
             str(FLEET_ENTRIES)], stdout=subprocess.PIPE, text=True)
        try:
            take(figures, fleet, "fleet")
            token = world.join_token()
            pid = world.start("agent", "-joinToken", token)
            load(figures, "agent", "--pid", pid, "--socket", world.socket_of("agent"), "--admin",
                 world.socket_of("server"), "--trust-domain", fixture.DOMAIN, "--parent",
                 f"/spire/agent/join_token/{token}", "--part", "propagate", "--prefix", "scale_")
            if fleet.poll() is not None:
                raise RuntimeError("the fleet has ended")
        finally:
            fleet.kill()
            fleet.wait()


def measure_sizes(figures, programs):
    for name in ("server", "agent"):
        program = os.path.join(programs, f"spire-{name}")
        figures[f"{name}_bytes"] = {"value": os.path.getsize(program)}


def first_line(*command):
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return answer.splitlines()[0] if answer else "unknown"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(re.search(r"MemTotal:\s+(\d+)", file.read()).group(1)) / 2**20
    return [
        f"{os.cpu_count()} cores, {model.group(1).strip() if model else platform.machine()}, "
        f"{memory:.0f} GiB; Linux {platform.release()}",
        f"{first_line('g++', '--version')}; {first_line('openssl', 'version')}; "
        f"SQLite {first_line('sqlite3', '--version').split()[0]}",
    ]


HEADER = """# Benchmarks

`./dev bench` builds the release programs, measures, and writes this file. Times drift on shared
machines, so each figure stands beside the raw limit of the same run, and the ratio is what counts.

- CPU is the server's (or agent's) own CPU time per operation, the sum of
  `/proc/<pid>/task/*/schedstat`; rates and latencies are those of one load program on the same
  cores, so they include its own work. The load program speaks the public APIs over mutual TLS on
  loopback, with 4 connections and 8 calls under way.
- "P-256 sign" and "verify" are OpenSSL's alone (`crypto_bench`), on all cores at once, because the
  server works on all: cores that are threads of one are slower then. "SQLite alone" inserts as many
  plain rows in transactions of the same size (`datastore_bench`); an empty call is a handler that
  does nothing behind the same transport (`load empty-call`).
- Once it serves, a daemon gives back the code pages and the heap that only its start needed; RSS,
  idle, is what is resident after that.
- RSS per entry compares a fresh server over all entries with a fresh one over none.
"""


def document(figures, load_average):
    lines = [HEADER]
    lines.append(f"Measured {datetime.date.today().isoformat()} on:\n")
    lines += [f"- {line}" for line in machine()]
    lines.append(f"- load average when the run began: {load_average:.1f}\n")
    lines.append(table.build(figures).text())
    if "sqlite_commits" in figures:
        commits = figures["sqlite_commits"]["value"]
        lines.append(f"\nThe disk takes {commits:,.0f} SQLite commits/s, one row each.")
    return "\n".join(lines) + "\n"


def main():
    global BUILD
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=os.path.join(ROOT, "build/bin"))
    parser.add_argument("--out", default=os.path.join(ROOT, "docs/benchmarks.md"))
    parser.add_argument("--entries", type=int, default=28_000)
    parser.add_argument("--only", choices=("raw", "server", "agent", "scale"),
                        help="print this part only, write nothing")
    parser.add_argument("--build", default=BUILD, help="where the group bench was built")
    options = parser.parse_args()
    BUILD = os.path.abspath(options.build)
    load_average = os.getloadavg()[0]
    figures = {}
    with fixture.Fixture(os.path.abspath(options.programs)) as world:
        if options.only in (None, "raw"):
            measure_raw(figures)
        if options.only in (None, "server"):
            measure_server(figures, world, options.entries)
        if options.only in (None, "agent"):
            measure_agent(figures, world)
    if options.only in (None, "scale"):
        measure_scale(figures, os.path.abspath(options.programs))
    if options.only:
        return
    measure_sizes(figures, options.programs)
    text = document(figures, load_average)
    os.makedirs(os.path.dirname(options.out), exist_ok=True)
    with open(options.out, "w", encoding="utf-8") as file:
        file.write(text)
    print("\n" + table.build(figures).text())
    say(f"written to {os.path.relpath(options.out, ROOT)}")


if __name__ == "__main__":
    main()
