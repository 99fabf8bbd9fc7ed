# SPDX-License-Identifier: Apache-2.0
"""Values of what runs on every node: the agent and the CSI driver."""

from table import DURATION, FREE, LABELS, LIST, OMIT, PORT, STRING, STRINGS, SWITCH, TEXT, Table, one_of

SOCKET = "/run/spire/agent-sockets/spire-agent.sock"
ABSOLUTE = {"type": "string", "pattern": "^/.+/[^/]+$"}

T = Table("spire-agent", "Agent")
T.value("enabled", True, "Install the agent on the nodes.")
T.image("spire-agent")
T.names("the agent's name")
T.pods("root, without capabilities (with the unix attestor DAC_READ_SEARCH and SYS_PTRACE); read-only root",
       "RuntimeDefault seccomp", node_daemon=True)
T.value("resources", {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "512Mi"}},
        "Resources of the agent's container.", FREE)
T.value("extraEnvVars", [], "Further environment variables of the agent's container.", LIST)
T.value("expandEnv", False, "Expand $VARIABLE in agent.conf.")
T.value("hostAliases", [], "Host aliases of the pods.", LIST)
T.value("configMap.annotations", {}, "Annotations of the ConfigMap with agent.conf.", LABELS)
T.refused("trustDomain", "give global.spire.trustDomain", when="set", schema=STRING)
T.refused("clusterName", "give global.spire.clusterName", when="set", schema=STRING)
T.value("bundleConfigMap", OMIT, "ConfigMap of the bundle, where the server's is not in this release.", STRING)
T.value("server.address", "", "The server's address; empty: the Service of this release.")
T.value("server.port", 8081, "Its port; the Service has 443 and 8081.", PORT)
T.value("server.namespaceOverride", "", "Namespace of the server's Service, where address is empty.")
T.value("server.nameOverride", "", "Name of the server's Service, where address is empty: RELEASE-nameOverride.")
T.value("socketPath", SOCKET, "The Workload API's socket, in the container and on the node; its folder is what pods get.",
        ABSOLUTE)
T.value("healthChecks.enabled", True, "Serve health checks, and probe them.")
T.value("healthChecks.port", 9982, "Their port.", PORT)
T.probe("livenessProbe", 10, "Liveness probe of the agent")
T.probe("readinessProbe", 1, "Readiness probe of the agent", failureThreshold=5)
T.probe("startupProbe", 1, "Startup probe of the agent", failureThreshold=120)
T.value("logLevel", "info", "Log level.", one_of("debug", "info", "warn", "error"))
T.value("logFormat", "text", "Log format.", one_of("text", "json"))
T.value("trustBundleURL", "", "Where the trust bundle is fetched from, instead of the ConfigMap.")
T.value("trustBundleFormat", "spiffe", "Format of the bundle at trustBundleURL or trustBundleHostPath.",
        one_of("spiffe", "pem"))
T.value("trustBundleHostPath", "", "File on the node with the bundle, instead of the ConfigMap.")
T.value("availabilityTarget", "", "How long an SVID must be good for when the server is away; empty: renew at half its "
        "life.", DURATION)
T.refused("rebootstrapMode", "only never is built", when="other", allowed=("never",), schema=STRING)
T.value("rebootstrapDelay", OMIT, "Read with a rebootstrapMode that is not built.", DURATION)
T.value("config.agent.sync_interval", OMIT,
        "Between polls of a server that cannot push; goes before experimental.syncInterval.", DURATION)
T.value("experimental.enabled", False, "Whether the settings below are written into agent.conf.")
T.value("experimental.syncInterval", "5s", "As config.agent.sync_interval.", DURATION)
T.value("experimental.featureFlags", [], "feature_flags.")
T.refused("experimental.requirePQKEM", "it is not built", when="set", schema=SWITCH)
T.value("keyManager.memory.enabled", True, "Keep the agent's key in memory.")
T.value("keyManager.disk.enabled", False, "Keep it in a file; goes before memory.")
T.value("keyManager.disk.mode", OMIT, "Where the file is: persistence.type decides.", one_of("hostPath", "emptyDir"))
T.value("persistence.type", "emptyDir", "Where the agent's data are.", one_of("emptyDir", "hostPath"))
T.value("persistence.hostPath", "/var/lib/spire/k8s/agent", "The folder on the node, with the type hostPath.", TEXT)
T.value("nodeAttestor.k8sPSAT.enabled", True, "Attest by the service-account token.")
T.value("nodeAttestor.k8sPsat.enabled", OMIT, "The same in the guide's spelling; goes before it.", SWITCH)
for block, name in (("httpChallenge", "http_challenge"), ("tpmDirect", "tpm"), ("awsIID", "aws_iid"),
                    ("aws_iid", "aws_iid"), ("gcpIIT", "gcp_iit"), ("gcp_iit", "gcp_iit"), ("azureMSI", "azure_msi"),
                    ("x509POP", "x509pop")):
    T.refused(f"nodeAttestor.{block}", f"the chart does not set up the NodeAttestor {name} yet" if name == "x509pop"
              else f"the NodeAttestor {name} is not built")
T.value("workloadAttestors.k8s.enabled", True, "Attest workloads by their pods.")
T.value("workloadAttestors.k8s.verification.type", "skip",
        "How the kubelet's certificate is checked: not (the connection stays on the node), or apiServerCA, by the "
        "cluster's CA.", one_of("skip", "apiServerCA", "hostCert", "auto"))
T.refused("workloadAttestors.k8s.verification.type", "only skip and apiServerCA are built", when="other",
          allowed=("skip", "apiServerCA"))
T.value("workloadAttestors.k8s.verification.hostCert", OMIT, "Read with a verification type that is not built.", FREE)
T.value("workloadAttestors.k8s.skipKubeletVerification", OMIT, "As verification.type: true is skip, false apiServerCA.",
        SWITCH)
T.value("workloadAttestors.k8s.disableContainerSelectors", False, "No selectors of the container.")
T.value("workloadAttestors.k8s.useNewContainerLocator", True, "How the container of a process is found.")
T.value("workloadAttestors.k8s.verboseContainerLocatorLogs", False, "Log how it is found.")
T.refused("workloadAttestors.k8s.brokerAPI", "the SPIFFE Broker API is not built", when="set", schema=FREE)
T.value("workloadAttestors.unix.enabled", False, "Also attest them as processes: user, group, path, hash.")
T.value("kubeletAddress.mode", "auto",
        "Where the kubelet is asked: at the node's address (auto, hostip), at its name (hostname), or at 127.0.0.1 "
        "(localhost), which needs the host's network.", one_of("auto", "hostip", "hostname", "localhost"))
T.value("hostNetwork", "auto", "Run in the node's network; auto: only where kubeletAddress.mode is localhost.",
        {"type": ["boolean", "string"], "enum": ["auto", "", True, False, "true", "false"]})
T.value("dnsPolicy", "", "DNS policy of the pods; empty: what suits hostNetwork.",
        one_of("", "ClusterFirst", "ClusterFirstWithHostNet", "Default"))
T.value("rbac.nodesProxy", "auto",
        "Allow nodes/proxy, which kubelets before 1.33 want for their list of pods (newer ones take nodes/pods); auto: "
        "where the cluster has such a node, or cannot be asked.", {"type": ["boolean", "string"],
                                                                   "enum": ["auto", True, False]})
T.value("sockets.admin.enabled", False, "Serve the admin socket, /tmp/spire-agent/private/admin.sock.")
T.refused("sockets.admin.mountOnHost", "the admin socket stays in the pod", when="set", schema=SWITCH)
T.value("sockets.hostBasePath", OMIT, "Read with sockets.admin.mountOnHost, which is refused.", STRING)
T.refused("sockets.broker", "the SPIFFE Broker API is not built")
T.refused("brokerAPI.tcp", "the SPIFFE Broker API is not built")
T.refused("sds", "Envoy SDS is not built")
T.refused("authorizedDelegates", "the Delegated Identity API is not built", when="set", schema=STRINGS)
T.value("brokerAPI.brokers", OMIT, "Read with the Broker API, which is refused.", FREE)
T.refused("kubeletConnectByHostname", "give kubeletAddress.mode: hostname instead", when="set",
          schema={"type": ["boolean", "string"]})
T.refused("dynamicRegistration", "dynamicRegistration is not built")
T.refused("socketAlternate.names", "the socket has one name, socketPath's; give workloads SPIFFE_ENDPOINT_SOCKET",
          when="set", schema=STRINGS)
T.refused("agents", "several agents on one node are not supported", when="set", schema=FREE)
T.refused("upstream", "nested SPIRE is not part of this chart", when="set", schema=SWITCH)
T.refused("namespaceOverride", "everything is installed into the release's namespace", when="set", schema=STRING)
for block in ("tools", "fsGroupFix", "hostCert", "socketAlternate.image"):
    T.value(block, OMIT, "Taken from other charts' values: there is nothing in this chart that it would be for.", FREE)
for block in ("customPlugins", "unsupportedBuiltInPlugins"):
    for kind in ("keyManager", "nodeAttestor", "svidStore", "workloadAttestor"):
        T.refused(f"{block}.{kind}", "external plugins are not built" if block == "customPlugins" else
                  "plugins are set up by their own values", when="set", schema=FREE)
T.metrics(9988)
T.value("telemetry.prometheus.host", "0.0.0.0", "Address of the metrics.", TEXT)
T.value("telemetry.datadog.enabled", False, "Send metrics to Datadog's agent.")
T.value("telemetry.datadog.address", "datadog.kube-system.svc", "Its address.", TEXT)
T.value("telemetry.datadog.port", 8125, "Its port.", PORT)
AGENT = T

T = Table("spiffe-csi-driver", "CSI driver")
T.value("enabled", True, "Install the CSI driver on the nodes.")
T.image("spiffe-csi-driver")
T.names("the driver's name")
T.pods("privileged, as it mounts into pods; no capabilities else, read-only root", "RuntimeDefault seccomp",
       node_daemon=True)
T.value("resources", {"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "128Mi"}},
        "Resources of the driver's container.", FREE)
T.value("extraEnvVars", [], "Further environment variables of the driver's container.", LIST)
T.value("pluginName", "csi.spiffe.io", "The driver's name.", TEXT)
T.value("agentSocketPath", "", "The agent's socket, whose folder pods get; empty: spire-agent.socketPath.")
T.value("kubeletPath", "/var/lib/kubelet", "The kubelet's folder on the nodes.", TEXT)
T.value("csiDriverLabels", {}, "Further labels of the CSIDriver.", LABELS)
T.value("csiDriverAnnotations", {}, "Its annotations.", LABELS)
T.value("healthChecks.enabled", True, "Serve health checks, and probe them.")
T.value("healthChecks.port", 9809, "Their port.", PORT)
T.value("logLevel", "info", "Log level.", one_of("debug", "info", "warn", "error"))
T.value("logFormat", "text", "Log format.", one_of("text", "json"))
T.probe("livenessProbe", 10, "Liveness probe of the driver")
T.probe("readinessProbe", 1, "Readiness probe of the driver", failureThreshold=5)
T.probe("startupProbe", 1, "Startup probe of the driver", failureThreshold=60)
T.value("hostNetwork", False, "Run in the node's network.")
T.value("nodeDriverRegistrar", OMIT, "Taken from other charts' values: the driver registers itself, there is no such "
        "container.", FREE)
T.refused("validatingAdmissionPolicy", "the admission policy is not built")
T.refused("restrictedScc", "OpenShift's security context constraints are not built")
T.refused("selinux", "relabelling is not built")
T.refused("namespaceOverride", "everything is installed into the release's namespace", when="set", schema=STRING)
T.value("serverNamespaceOverride", OMIT, "Read with an admission policy, which is refused.", STRING)
T.value("syncWave", OMIT, "Read with OpenShift, which is refused.", {"type": "integer"})
CSI = T
