# SPDX-License-Identifier: Apache-2.0
"""Values that concern all components."""

from table import COUNT, LABELS, LIST, NUMBER_OR_TEXT, OMIT, PORT, STRING, STRING_OR_NULL, SWITCH, TEXT, Table, one_of

ONE_NAMESPACE = "everything is installed into the release's namespace, made with helm's --create-namespace or kubectl"

T = Table("global", "All components")
T.value("imagePullSecrets", [], "Pull secrets of all pods, name: each.", LIST)
T.value("k8s.clusterDomain", "cluster.local", "The DNS domain of the cluster.", TEXT)
T.value("installAndUpgradeHooks", OMIT, "Taken from other charts' values: this chart has no such hooks, on or off.")
T.value("deleteHooks", OMIT, "Taken from other charts' values: this chart has no such hooks, on or off.")
T.value("spire.trustDomain", "example.org", "The trust domain.", {"type": "string", "pattern": "^[a-z0-9._-]{1,255}$"})
T.value("spire.clusterName", "example-cluster", "Name of this cluster in the agents' SPIFFE IDs and selectors.", TEXT)
T.value("spire.jwtIssuer", "",
        "Issuer of JWT-SVIDs and of the OIDC document; empty: https:// and the first of the OIDC provider's "
        "config.domains, or else oidc-discovery.TRUSTDOMAIN.")
T.value("spire.bundleConfigMap", "", "ConfigMap of the trust bundle; empty: spire-bundle.")
T.value("spire.bundleEndpoint.address", OMIT, "Serve the SPIFFE bundle endpoint at this address, as "
        "spire-server.federation does.", STRING)
T.value("spire.bundleEndpoint.port", OMIT, "Its port, 8443 when only the address is given.", PORT)
for scope in ("spire.caSubject",):
    T.value(f"{scope}.country", OMIT, "Goes before spire-server.caSubject.country.", {"type": ["string", "array"]})
    T.value(f"{scope}.organization", OMIT, "Goes before spire-server.caSubject.organization.",
            {"type": ["string", "array"]})
    T.value(f"{scope}.commonName", OMIT, "Goes before spire-server.caSubject.commonName.", STRING)
T.value("spire.persistence.storageClass", None, "Storage class of the server's volume; empty: the cluster's default.",
        STRING_OR_NULL)
T.value("spire.image.registry", "", "Registry of all images.")
T.value("spire.image.tag", "", "Tag of all images; empty: the chart's appVersion.", NUMBER_OR_TEXT)
T.value("spire.image.pullPolicy", "", "Pull policy of all images; empty: each image's own.",
        one_of("", "Always", "IfNotPresent", "Never"))
T.value("spire.strictMode", False, "Refuse to install with the defaults of trustDomain, clusterName and CA subject.")
T.value("spire.recommendations.enabled", False, "The three settings below, which are for production.")
T.value("spire.recommendations.strictMode", True, "As strictMode.")
T.value("spire.recommendations.priorityClassName", True, "Priority classes for the pods.")
T.value("spire.recommendations.prometheus", True, "Metrics of all components.")
T.value("spire.recommendations.securityContexts", True, "They are set always; true or false makes no difference.")
T.value("spire.recommendations.namespaceLayout", OMIT, "Refused where recommendations are enabled: " + ONE_NAMESPACE + ".",
        SWITCH)
T.value("spire.recommendations.namespacePSS", OMIT, "Means nothing without namespaces.create, which is refused.", SWITCH)
T.refused("spire.namespaces.create", ONE_NAMESPACE, when="set", schema=SWITCH)
T.refused("spire.namespaces.system.create", ONE_NAMESPACE, when="set", schema=SWITCH)
T.refused("spire.namespaces.server.create", ONE_NAMESPACE, when="set", schema=SWITCH)
for layer in ("system", "server"):
    for key in ("name", "annotations", "labels"):
        T.value(f"spire.namespaces.{layer}.{key}", OMIT, "Read with create, which is refused.", {})
T.refused("spire.ingressControllerType", "give the annotations of each ingress instead", when="set", schema=STRING)
for block in ("spire.gatewayAPI", "spire.tools"):
    T.value(block, OMIT, "Taken from other charts' values: there is nothing in this chart that it would be for.", {})
T.refused("spire.upstreamServerAddress", "the UpstreamAuthority spire is not built", when="set", schema=STRING)
T.refused("openshift", "OpenShift's security context constraints are not built", when="set", schema=SWITCH)

M = Table("", "Monitoring and policy, for the whole release")
M.value("networkPolicy.enabled", False,
        "Let pods be reached only where they must be: the server by agents, its bundle endpoint, metrics and webhook, "
        "the OIDC provider's port, the agents' metrics. Needs a network plug-in that enforces policies.")
M.value("networkPolicy.serverFrom", [], "Further peers (from: items) that may reach the server's API, for agents of "
        "other namespaces or machines.", LIST)
M.value("monitoring.dashboard.enabled", False, "A ConfigMap with the Grafana dashboard, for Grafana's sidecar.")
M.value("monitoring.dashboard.labels", {"grafana_dashboard": "1"}, "Its labels.", LABELS)
M.value("monitoring.dashboard.namespace", "", "Its namespace; empty: the release's.")
M.value("monitoring.rules.enabled", False, "Alert rules, as a PrometheusRule of the Prometheus operator.")
M.value("monitoring.rules.labels", {}, "Its further labels.", LABELS)
M.value("monitoring.rules.namespace", "", "Its namespace; empty: the release's.")
M.value("monitoring.rules.x509CALeftSeconds", 7200, "Alert when the X.509 CA lives no longer than this.", COUNT)
for block in ("tornjak-frontend", "spike-keeper", "spike-nexus", "spike-pilot", "spire-identity-exchange", "upstream",
              "gatewayAPI.gateway"):
    M.refused(block, f"{block} is not part of this chart")
for block in ("upstream-spire-agent", "upstream-spiffe-csi-driver"):
    M.refused(block, "nested SPIRE is not part of this chart", when="set", schema={"type": "object"})
