#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Kills the server or the agent (SIGKILL) at random moments under load, again and again, and checks
# after each time that nothing acknowledged is lost, that the CA goes on, and that the agent resumes
# without attesting anew. A round is one kill. The last line is `N passed, N failed`.
"""usage: tests/crash/run.py [--rounds N] [--seed N]"""

import argparse
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build/bin"
HEALTHY_SECONDS = 20
KEPT_ENTRIES = 300  # the writer deletes older ones, so that a check stays short

SERVER_CONF = """
server {
  bind_address = "127.0.0.1"
  bind_port = "%(port)d"
  socket_path = "%(dir)s/server.sock"
  trust_domain = "example.org"
  data_dir = "%(dir)s/server"
  ratelimit { attestation = false }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "%(dir)s/server/d.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { keys_path = "%(dir)s/server/keys.json" } }
}
"""
AGENT_CONF = """
agent {
  data_dir = "%(dir)s/agent"
  server_address = "127.0.0.1"
  server_port = "%(port)d"
  socket_path = "%(dir)s/agent.sock"
  insecure_bootstrap = true
  trust_domain = "example.org"
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "%(dir)s/agent" } }
  WorkloadAttestor "unix" { plugin_data {} }
}
"""


class Daemon:
    def __init__(self, name, folder, *arguments):
        self.name = name
        self.command = [BIN / name, "run", "-config", f"{name}.conf", *arguments]
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.process = None

    def start(self):
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class World:
    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            names = {"dir": str(folder), "port": probe.getsockname()[1]}
        for name, text in (("server", SERVER_CONF), ("agent", AGENT_CONF)):
            (folder / name).mkdir()
            (folder / f"spire-{name}.conf").write_text(text % names)
        self.server = Daemon("spire-server", folder)
        self.agent = None

    def cli(self, *arguments, stdin=None):
        """Standard output as JSON, or None when the call failed (the server may be dead)."""
        done = subprocess.run([BIN / "spire-server", *arguments, "-socketPath", "server.sock", "-output", "json"],
                              cwd=self.folder, text=True, input=stdin, capture_output=True, check=False, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_healthy(self, name, sock):
        deadline = time.monotonic() + HEALTHY_SECONDS
        while subprocess.run([BIN / name, "healthcheck", "-socketPath", sock], cwd=self.folder, capture_output=True,
                             check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is not healthy {HEALTHY_SECONDS} s after its start")
            time.sleep(0.02)

    def up(self):
        self.server.start()
        self.wait_healthy("spire-server", "server.sock")
        token = self.cli("token", "generate", "-spiffeID", "spiffe://example.org/node")["value"]
        self.cli("entry", "create", "-parentID", "spiffe://example.org/node", "-spiffeID", "spiffe://example.org/w",
                 "-selector", "unix:uid:0", "-x509SVIDTTL", "600")
        self.agent = Daemon("spire-agent", self.folder, "-joinToken", token)
        self.agent.start()
        self.wait_healthy("spire-agent", "agent.sock")

    def identity(self):
        """The SPIFFE IDs that this process gets from the agent."""
        done = subprocess.run([BIN / "spire-agent", "api", "fetch", "x509", "-socketPath", "agent.sock"],
                              cwd=self.folder, text=True, capture_output=True, check=False, timeout=60)
        return re.findall(r"^SPIFFE ID:\t\t(\S+)$", done.stdout, re.M)


class Writer(threading.Thread):
    """Creates and deletes entries all the time and remembers what was acknowledged."""

    def __init__(self, world, seed):
        super().__init__(daemon=True)
        self.world = world
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.stored = {}     # id -> SPIFFE ID, acknowledged
        self.gone = set()    # ids whose deletion was acknowledged
        self.unsure = set()  # ids of calls without an answer: either way is right
        self.stopping = False

    def create(self):
        batch = [{"entry_id": uuid.uuid4().hex, "spiffe_id": f"spiffe://example.org/load/{uuid.uuid4().hex}",
                  "parent_id": "spiffe://example.org/elsewhere", "selectors": [{"type": "unix", "value": "uid:1"}]}
                 for _ in range(self.random.randint(1, 20))]
        answer = self.world.cli("entry", "create", "-data", "-", stdin=json.dumps({"entries": batch}))
        with self.lock:
            if answer is None:
                self.unsure.update(entry["entry_id"] for entry in batch)
                return
            for entry, result in zip(batch, answer["results"]):
                if result["status"]["code"] == 0:
                    self.stored[entry["entry_id"]] = entry["spiffe_id"]

    def delete(self):
        with self.lock:
            ids = list(self.stored)[:20]
            for one in ids:
                self.unsure.add(one)
                del self.stored[one]
        answer = self.world.cli("entry", "delete", "-file", "-", stdin=json.dumps({"ids": ids}))
        with self.lock:
            for result in (answer or {"results": []})["results"]:
                if result["status"]["code"] == 0:
                    self.unsure.discard(result["id"])
                    self.gone.add(result["id"])

    def run(self):
        while not self.stopping:
            if len(self.stored) > KEPT_ENTRIES:
                self.delete()
            else:
                self.create()


def check_entries(world, writer):
    with writer.lock:
        stored, gone = dict(writer.stored), set(writer.gone)
    listed = world.cli("entry", "show", "-parentID", "spiffe://example.org/elsewhere")
    assert listed is not None, "the server does not list its entries"
    found = {entry["id"]: "spiffe://" + entry["spiffe_id"]["trust_domain"] + entry["spiffe_id"]["path"]
             for entry in listed["entries"]}
    with writer.lock:  # what was deleted while we asked is no loss
        lost = [one for one in stored if one not in found and one in writer.stored]
    wrong = [one for one in stored if one in found and found[one] != stored[one]]
    back = [one for one in gone if one in found]
    assert not lost, f"{len(lost)} acknowledged entries are lost, e.g. {lost[0]}"
    assert not wrong, f"entries changed: {wrong[:3]}"
    assert not back, f"deleted entries came back: {back[:3]}"


def check_authority(world, roots):
    bundle = world.cli("bundle", "show")
    now = {one["asn1"] for one in bundle["x509_authorities"]}
    keys = {one["key_id"] for one in bundle["jwt_authorities"]}
    assert roots["x509"] <= now and roots["jwt"] <= keys, "an authority is missing from the bundle"
    assert len(now) == len(roots["x509"]), "the server made a new CA although the old one is good"
    assert world.cli("x509", "mint", "-spiffeID", "spiffe://example.org/m"), "the server does not sign"


def check_agent(world):
    deadline = time.monotonic() + HEALTHY_SECONDS
    while world.identity() != ["spiffe://example.org/w"]:
        assert time.monotonic() < deadline, "the workload does not get its identity back"
        time.sleep(0.02)
    attested = world.agent.log.read_text(errors="replace").count("Node attestation was successful")
    assert attested == 1, f"the agent attested {attested} times"
    agents = world.cli("agent", "count")
    assert agents == {"count": 1}, f"the server knows {agents} agents"


def one_round(world, writer, roots, chance):
    victim = chance.choice(["server", "server", "agent", "both"])
    time.sleep(chance.uniform(0, 0.25))  # the moment of the kill is the test
    if victim != "agent":
        world.server.kill()
    if victim != "server":
        world.agent.kill()
    if victim != "agent":
        world.server.start()
        world.wait_healthy("spire-server", "server.sock")
    if victim != "server":
        world.agent.start()
        world.wait_healthy("spire-agent", "agent.sock")
    check_entries(world, writer)
    check_authority(world, roots)
    check_agent(world)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="crash") as name:
        world = World(pathlib.Path(name))
        writer = Writer(world, options.seed)
        try:
            world.up()
            bundle = world.cli("bundle", "show")
            roots = {"x509": {one["asn1"] for one in bundle["x509_authorities"]},
                     "jwt": {one["key_id"] for one in bundle["jwt_authorities"]}}
            writer.start()
            for number in range(options.rounds):
                one_round(world, writer, roots, chance)
                passed += 1
                if passed % 20 == 0:
                    print(f"{passed} rounds, {len(writer.stored)} entries stored, {len(writer.gone)} deleted",
                          flush=True)
        except AssertionError as problem:
            failed = 1
            print(f"round {passed + 1}: {problem}")
            for log in (world.server.log, world.folder / "spire-agent.log"):
                if log.exists():
                    print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        finally:
            writer.stopping = True
            if writer.is_alive():
                writer.join(60)
            for daemon in (world.agent, world.server):
                if daemon and daemon.process and daemon.process.poll() is None:
                    daemon.stop()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
