#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: deploy/chart/values/generate.py [--check]

Writes, from the tables beside it, what the chart spire and its page say about values: values.yaml,
values.schema.json, files/refused.json, docs/helm-values.md. With --check, says which of them is not up to date.
"""

import json
import pathlib
import sys
import textwrap

import common
import nodes
import oidc
import server
from table import OMIT

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/chart/spire"
TABLES = [common.T, common.M, *server.TABLES, nodes.AGENT, nodes.CSI, oidc.T]
VALUES = [value for table in TABLES for value in table.values]
REFUSALS = [refusal for table in TABLES for refusal in table.refusals]
MADE = "Made by deploy/chart/values/generate.py from the tables beside it."
YAML_LINES_MAX = 118


class Node:
    def __init__(self):
        self.children = {}
        self.value = None


def tree():
    root = Node()
    for value in VALUES:
        node = root
        for part in value.path.split("."):
            node = node.children.setdefault(part, Node())
        if node.value or node.children:
            sys.exit(f"{value.path} is described twice")
        node.value = value
    return root


# --- values.schema.json ---------------------------------------------------------------------------

def schema(node):
    if node.value:
        if node.children:
            sys.exit(f"{node.value.path} is a value and a block")
        # null takes a default away, everywhere in Helm.
        return {"description": node.value.text, **node.value.schema}
    return {"type": "object", "additionalProperties": False,
            "properties": {name: schema(child) for name, child in node.children.items()}}


def schema_text(root):
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart spire",
             "$comment": MADE, **schema(root)}
    return json.dumps(whole, indent=1) + "\n"


# --- values.yaml ----------------------------------------------------------------------------------

def inline(default):
    return "null" if default is None else json.dumps(default)


def has_default(node):
    if node.value:
        return node.value.default is not OMIT
    return any(has_default(child) for child in node.children.values())


def yaml_lines(node, depth):
    lines = []
    for name, child in node.children.items():
        if not has_default(child):
            continue
        pad = "  " * depth
        if child.value:
            text = textwrap.wrap(child.value.text, YAML_LINES_MAX - len(pad) - 2)
            lines += [f"{pad}# {line}" for line in text] + [f"{pad}{name}: {inline(child.value.default)}"]
        else:
            lines += [f"{pad}{name}:", *yaml_lines(child, depth + 1)]
        if depth == 0:
            lines.append("")
    return lines


def values_text(root):
    head = ["# SPDX-License-Identifier: Apache-2.0", "#", f"# Defaults of the chart spire. {MADE}",
            "# Values without a default, and what each means: docs/helm-values.md.", ""]
    return "\n".join(head + yaml_lines(root, 0)).rstrip() + "\n"


# --- files/refused.json ---------------------------------------------------------------------------

def refused_text():
    rows = [{"path": refusal.path.split("."), "when": refusal.when, "reason": refusal.reason,
             **({"allowed": list(refusal.allowed)} if refusal.allowed else {})} for refusal in REFUSALS]
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


# --- docs/helm-values.md --------------------------------------------------------------------------

def cell(text):
    return text.replace("|", "\\|").replace("{{", "&#123;&#123;")


def page_text():
    lines = ["# Values of the chart spire", "", f"<!-- {MADE} -->",
             "`helm install` refuses a value that is not on this page, by name, and a value of the wrong type. "
             "Values of parts that are not built are known and refused with the reason. A dash is a value without a "
             "default: absent. Two spellings of a value are both right: the guide's and that of helm-charts-hardened.", ""]
    for table in TABLES:
        refused = {refusal.path for refusal in table.refusals}
        rows = [value for value in table.values if not (value.path in refused and value.default is OMIT)]
        lines += [f"## {table.title}", ""]
        if rows:
            lines += ["| Value | Default | Meaning |", "|---|---|---|"]
        for value in rows:
            default = "–" if value.default is OMIT else f"`{inline(value.default)}`"
            lines.append(f"| `{value.path}` | {cell(default)} | {cell(value.text)} |")
        if rows:
            lines.append("")
        if table.refusals:
            lines += ["Refused:", "", "| Value | When | Why |", "|---|---|---|"]
            for refusal in table.refusals:
                when = {"enabled": "`enabled: true`", "set": "not empty",
                        "other": "not " + ", ".join(f"`{word}`" for word in map(inline, refusal.allowed))}[refusal.when]
                lines.append(f"| `{refusal.path}` | {cell(when)} | {cell(refusal.reason)} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    root = tree()
    files = {CHART / "values.yaml": values_text(root), CHART / "values.schema.json": schema_text(root),
             CHART / "files/refused.json": refused_text(), ROOT / "docs/helm-values.md": page_text()}
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not up to date: run deploy/chart/values/generate.py")
        sys.exit(bool(stale))
    for path in stale:
        path.write_text(files[path])
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
