# SPDX-License-Identifier: Apache-2.0
"""What the chart's tests share: helm, its output as objects, the folders."""

import json
import os
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CHART = ROOT / "deploy/chart/spire"
CRDS_CHART = ROOT / "deploy/chart/spire-crds"
VALUES = HERE / "values"
PROGRAMS = pathlib.Path(os.environ.get("STEEPLE_K8S_PROGRAMS") or pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "steeple/kubernetes")
NAMESPACE = "spire-system"
TIMEOUT = 120


def program(name):
    path = PROGRAMS / name
    return str(path) if path.exists() else None


def call(*command, **others):
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT, **others)


def objects(text):
    """What a template prints, by kind and name."""
    import yaml
    return {(found["kind"], found["metadata"]["name"]): found for found in yaml.safe_load_all(text) if found}


class Values:
    """Values given as a dictionary, in a file for helm."""

    def __init__(self, values):
        self.values = values

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump(self.values, self.file)
        self.file.flush()
        return self.file.name

    def __exit__(self, *_):
        self.file.close()


def nested(path, value):
    """{"a": {"b": value}} from "a.b"."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def template(*files, chart=CHART, more=()):
    arguments = [word for file in files for word in ("--values", str(file))]
    return call(program("helm"), "template", "spire", str(chart), "--namespace", NAMESPACE,
                "--kube-version", "1.33.0", *arguments, *more)


def template_values(values, *files):
    with Values(values) as file:
        return template(*files, file)
