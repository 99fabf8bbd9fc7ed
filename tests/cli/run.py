#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# The command lines as users see them: runs the commands of cases.txt, in order, against a server
# and an agent of its own and compares standard output, standard error and exit code with
# golden.txt. What differs from run to run (ids, dates, keys) is replaced by a name first.
# The last line is `N passed, N failed`.
"""usage: tests/cli/run.py [--update]   (--update writes golden.txt anew; read the diff)"""

import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = ROOT / "build/bin"

SERVER_CONF = """
server {
  bind_address = "127.0.0.1"
  bind_port = "%(port)d"
  socket_path = "%(dir)s/server.sock"
  trust_domain = "example.org"
  data_dir = "%(dir)s/server"
  ca_ttl = "8760h"
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
  socket_path = "%(dir)s/public/api.sock"
  admin_socket_path = "%(dir)s/admin/admin.sock"
  insecure_bootstrap = true
  trust_domain = "example.org"
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
"""
ENTRIES = """{"entries": [
  {"spiffe_id": "spiffe://example.org/data1", "parent_id": "spiffe://example.org/agent2",
   "selectors": [{"type": "unix", "value": "uid:1001"}], "x509_svid_ttl": 60, "dns_names": ["d.example.org"]},
  {"spiffe_id": "spiffe://example.org/data2", "parent_id": "spiffe://example.org/agent2",
   "selectors": [{"type": "unix", "value": "uid:1002"}], "hint": "h"}]}
"""

REPLACEMENTS = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<jwt>"),
    (r"(?s)-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", r"<pem \1>"),
    (r"[A-Za-z0-9+/]{60,}={0,2}", "<base64>"),
    (r'"(x|y)": "[A-Za-z0-9_-]{43}"', r'"\1": "<coordinate>"'),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d( \+0000 UTC|Z)", "<time>"),
    (r"\b1\d{9}\b(?!:)", "<unix>"),
    (r"\b\d{35,40}\b", "<serial>"),
    (r"after [\d.µm]+s", "after <duration>"),
    (r'("kid": |"key_id":)"[A-Za-z0-9]{32}"', r'\1"<kid>"'),
    (r"(Uptime: +)\S+", r"\1<duration>"),
    (r'"uptime":\d+', '"uptime":<seconds>'),
]


def normal(text, folder):
    text = text.replace(str(folder), "<dir>")
    for pattern, name in REPLACEMENTS:
        text = re.sub(pattern, name, text)
    return text


def wait(command, seconds=15):
    deadline = time.monotonic() + seconds
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{shlex.join(map(str, command))} did not succeed in {seconds} s")
        time.sleep(0.05)


class World:
    """A server and an agent in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            names = {"dir": str(folder), "port": probe.getsockname()[1]}
        for name in ("server", "agent"):
            (folder / name).mkdir()
        (folder / "server.conf").write_text(SERVER_CONF % names)
        (folder / "agent.conf").write_text(AGENT_CONF % names)
        (folder / "unknown.conf").write_text(SERVER_CONF.replace("ca_ttl", "nonsense") % names)
        (folder / "syntax.conf").write_text("server {\n  bind_address = \"x\n}\n")
        (folder / "entries.json").write_text(ENTRIES)
        self.processes = []

    def start(self, *command):
        log = open(self.folder / f"{command[0]}.log", "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.processes.append(subprocess.Popen([BIN / command[0], *command[1:]], cwd=self.folder, stdout=log,
                                               stderr=log))

    def up(self):
        self.start("spire-server", "run", "-config", "server.conf")
        wait([BIN / "spire-server", "healthcheck", "-socketPath", self.folder / "server.sock"])
        token = self.run(["spire-server", "token", "generate", "-spiffeID", "spiffe://example.org/node",
                          "-socketPath", "server.sock"], None)[1].split()[1]
        self.start("spire-agent", "run", "-config", "agent.conf", "-joinToken", token)
        wait([BIN / "spire-agent", "healthcheck", "-socketPath", self.folder / "public/api.sock"])
        pem = self.run(["spire-server", "bundle", "show", "-socketPath", "server.sock"], None)[1]
        (self.folder / "fed.pem").write_text(pem)

    def run(self, command, stdin):
        done = subprocess.run([BIN / command[0], *command[1:]], cwd=self.folder, input=stdin, text=True,
                              capture_output=True, timeout=30, check=False)
        return done.returncode, done.stdout, done.stderr

    def down(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def cases():
    """Lines `name: command`; `S` stands for the server's socket flag, `P` for the workload socket,
    `A` for the admin socket; ` < text` at the end is standard input."""
    flags = {"S": "-socketPath server.sock", "P": "-socketPath public/api.sock",
             "A": "-socketPath admin/admin.sock"}
    for line in (HERE / "cases.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, command = line.partition(": ")
        command, _, stdin = command.partition(" < ")
        words = " ".join(flags.get(word, word) for word in command.split(" "))
        yield name, shlex.split(words), stdin or None


def golden():
    path = HERE / "golden.txt"
    if not path.exists():
        return {}
    parts = re.split(r"^=== (\S+)\n", path.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def record(status, out, err, folder):
    text = f"exit {status}\n"
    for name, stream in (("stdout", out), ("stderr", err)):
        if stream:
            text += f"--- {name}\n" + normal(stream, folder)
            text += "" if stream.endswith("\n") else "<no newline>\n"
    return text


def main():
    update = "--update" in sys.argv[1:]
    expected, actual = golden(), {}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cli") as name:
        world = World(pathlib.Path(name))
        try:
            world.up()
            for case, command, stdin in cases():
                actual[case] = record(*world.run(command, stdin), world.folder)
                if not update and actual[case] != expected.get(case):
                    failed += 1
                    print(f"{case}: {shlex.join(command)}\nexpected:\n{expected.get(case)}\ngot:\n{actual[case]}")
        finally:
            world.down()
    if update:
        (HERE / "golden.txt").write_text("".join(f"=== {case}\n{text}" for case, text in actual.items()))
    print(f"{len(actual) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
