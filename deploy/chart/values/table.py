# SPDX-License-Identifier: Apache-2.0
"""The words in which the tables beside this file describe the chart's values."""

import dataclasses

OMIT = object()  # the value has no default: it is absent

STRING = {"type": "string"}
TEXT = {"type": "string", "minLength": 1}
STRINGS = {"type": "array", "items": {"type": "string"}}
LIST = {"type": "array"}
FREE = {"type": "object"}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
SWITCH = {"type": "boolean"}
SECONDS = {"type": "integer", "minimum": 0}
COUNT = {"type": "integer", "minimum": 1}
DURATION = {"type": "string", "pattern": r"^$|^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$"}
NUMBER_OR_TEXT = {"type": ["integer", "string"]}
STRING_OR_NULL = {"type": ["string", "null"]}


def one_of(*words):
    return {"type": "string", "enum": list(words)}


@dataclasses.dataclass(frozen=True)
class Value:
    path: str
    default: object
    text: str
    schema: dict


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A value that the schema knows, and that fails with the reason.

    when: "enabled" (the block at the path has enabled: true), "set" (anything but empty, false and null)
    or "other" (anything but one of the allowed)."""

    path: str
    when: str
    reason: str
    allowed: tuple = ()


def schema_of(default):
    if isinstance(default, bool):
        return SWITCH
    if isinstance(default, int):
        return {"type": "integer"}
    if isinstance(default, str):
        return STRING
    if isinstance(default, list):
        return STRINGS
    return FREE


class Table:
    def __init__(self, prefix, title):
        self.prefix = prefix
        self.title = title
        self.values = []
        self.refusals = []

    def value(self, path, default, text, schema=None):
        path = f"{self.prefix}.{path}" if self.prefix else path
        self.values.append(Value(path, default, text, schema_of(default) if schema is None else schema))

    def refused(self, path, reason, when="enabled", allowed=(), schema=None, text=None):
        """A value that is known and refused; without a schema it is a block."""
        path = f"{self.prefix}.{path}" if self.prefix else path
        if schema or when == "enabled":
            self.values.append(Value(path, OMIT, text or f"Refused: {reason}.", schema or FREE))
        self.refusals.append(Refusal(path, when, reason, tuple(allowed)))

    def image(self, repository, path="image"):
        self.value(f"{path}.registry", "localhost", "Registry of the image; global.spire.image.registry goes before it.")
        self.value(f"{path}.repository", repository, "The image's name in the registry.", TEXT)
        self.value(f"{path}.tag", "", "Its tag; empty: global.spire.image.tag, or else the chart's appVersion.",
                   NUMBER_OR_TEXT)
        self.value(f"{path}.pullPolicy", "IfNotPresent", "When the kubelet pulls it.",
                   one_of("Always", "IfNotPresent", "Never"))

    def names(self, account):
        self.value("nameOverride", "", "The objects' name becomes RELEASE-nameOverride.")
        self.value("fullnameOverride", "", "The objects' name, taken as it stands.")
        self.value("serviceAccount.create", True, "Whether the ServiceAccount is made.")
        self.value("serviceAccount.name", "", f"Its name; empty: {account}.")
        self.value("serviceAccount.annotations", {}, "Its annotations.", LABELS)

    def pods(self, context, pod_context, node_daemon=False):
        self.value("podAnnotations", {}, "Further annotations of the pods.", LABELS)
        self.value("podLabels", {}, "Further labels of the pods.", LABELS)
        self.value("podSecurityContext", {}, f"Laid over the pods' security context: {pod_context}.", FREE)
        self.value("securityContext", {}, f"Laid over the container's security context: {context}.", FREE)
        self.value("imagePullSecrets", [], "Pull secrets, name: each; empty: global.imagePullSecrets.", LIST)
        self.value("nodeSelector", {}, "Labels of the nodes that pods may run on.", LABELS)
        self.value("tolerations", [], "Taints that pods tolerate.", LIST)
        self.value("affinity", {}, "Affinity of the pods.", FREE)
        self.value("priorityClassName", "",
                   "Priority class; empty: none, or with global.spire.recommendations.priorityClassName system-"
                   + ("node" if node_daemon else "cluster") + "-critical.")
        self.value("initContainers", [], "Further init containers.", LIST)
        self.value("extraVolumes", [], "Further volumes of the pods.", LIST)
        self.value("extraVolumeMounts", [], "Further mounts of the main container.", LIST)
        self.value("extraContainers", [], "Further containers of the pods.", LIST)
        self.value("terminationGracePeriodSeconds", 10, "How long a container may take to end.", SECONDS)
        if node_daemon:
            self.value("updateStrategy.type", "RollingUpdate", "How the DaemonSet replaces pods.",
                       one_of("RollingUpdate", "OnDelete"))
            self.value("updateStrategy.rollingUpdate.maxUnavailable", 1, "Pods that may be missing meanwhile.",
                       NUMBER_OR_TEXT)

    def probe(self, path, period, text, **others):
        numbers = {"initialDelaySeconds": 0, "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": 3, **others}
        for key, default in numbers.items():
            self.value(f"{path}.{key}", default, f"{text}: {key}.", SECONDS)

    def metrics(self, port):
        self.value("telemetry.prometheus.enabled", True, "Serve metrics, and annotate the pods for scraping.")
        self.value("telemetry.prometheus.port", port, "Port of the metrics.", PORT)
        self.value("telemetry.prometheus.podMonitor.enabled", False,
                   "Make a PodMonitor of the Prometheus operator.")
        self.value("telemetry.prometheus.podMonitor.namespace", "", "Its namespace; empty: the release's.")
        self.value("telemetry.prometheus.podMonitor.labels", {}, "Its further labels.", LABELS)
