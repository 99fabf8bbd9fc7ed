# SPDX-License-Identifier: Apache-2.0
"""The processes under test: a server and an agent in a temporary folder, on free ports.

Everything started here is ended by its own pid. Works with SPIRE's programs too: only the public
configuration and command line are used.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time

DOMAIN = "example.org"

SERVER_CONF = """
server {{
  bind_address = "127.0.0.1"
  bind_port = {port}
  socket_path = "{folder}/server.sock"
  trust_domain = "{domain}"
  data_dir = "{folder}/server"
  log_level = "WARN"
  ratelimit {{ attestation = false signing = false }}
}}
plugins {{
  DataStore "sql" {{
    plugin_data {{
      database_type = "sqlite3"
      connection_string = "{folder}/server/datastore.sqlite3"
    }}
  }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/server/keys.json" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"""

AGENT_CONF = """
agent {{
  data_dir = "{folder}/agent"
  server_address = "127.0.0.1"
  server_port = {port}
  socket_path = "{folder}/agent.sock"
  trust_bundle_path = "{folder}/bundle.pem"
  trust_domain = "{domain}"
  log_level = "WARN"
}}
plugins {{
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Fixture:
    """A server and an agent, started and stopped as the measurements need."""

    def __init__(self, programs):
        self.programs = programs
        self.temporary = tempfile.TemporaryDirectory(prefix="steeple-bench-")
        self.folder = self.temporary.name
        self.port = free_port()
        self.running = {}
        for name, text in (("server", SERVER_CONF), ("agent", AGENT_CONF)):
            os.makedirs(self.path(name))
            with open(self.path(f"{name}.conf"), "w", encoding="utf-8") as file:
                file.write(text.format(port=self.port, folder=self.folder, domain=DOMAIN))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self.running):
            self.stop(name)
        self.temporary.cleanup()

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, name, *more):
        return [os.path.join(self.programs, f"spire-{name}"), "run", "-config",
                self.path(f"{name}.conf"), *more]

    def socket_of(self, name):
        return self.path(f"{name}.sock")

    def start(self, name, *more):
        """Starts it and waits until its own health check says yes; gives the pid."""
        log = open(self.path(f"{name}.log"), "a", encoding="utf-8")  # for the process's life
        process = subprocess.Popen(self.command(name, *more), stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL)
        log.close()
        self.running[name] = process
        check = [os.path.join(self.programs, f"spire-{name}"), "healthcheck", "-socketPath",
                 self.socket_of(name)]
        deadline = time.monotonic() + 30
        while subprocess.run(check, capture_output=True, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the {name} did not become healthy:\n" + self.tail(name))
            time.sleep(0.05)
        return process.pid

    def stop(self, name):
        process = self.running.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def tail(self, name):
        with open(self.path(f"{name}.log"), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-20:])

    def server_says(self, *arguments):
        return subprocess.run(
            [os.path.join(self.programs, "spire-server"), *arguments, "-socketPath",
             self.socket_of("server")], capture_output=True, check=True, text=True).stdout

    def write_bundle(self):
        with open(self.path("bundle.pem"), "w", encoding="utf-8") as file:
            file.write(self.server_says("bundle", "show"))

    def join_token(self):
        answer = self.server_says("token", "generate")
        return answer.split("Token:")[1].split()[0]
