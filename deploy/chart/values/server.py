# SPDX-License-Identifier: Apache-2.0
"""Values of the server and of the controller manager beside it."""

from table import (COUNT, DURATION, FREE, LABELS, LIST, NUMBER_OR_TEXT, OMIT, PORT, SECONDS, STRING, STRING_OR_NULL,
                   STRINGS, SWITCH, TEXT, Table, one_of)

TABLES = []


def table(title):
    TABLES.append(Table("spire-server", title))
    return TABLES[-1]


T = table("Server")
T.value("enabled", True, "Install the server.")
T.value("replicaCount", 1, "Number of servers; more than one needs a database that they share.", COUNT)
T.image("spire-server")
T.names("the server's name")
T.pods("no privileges, no capabilities, read-only root", "user 1000, not root, RuntimeDefault seccomp")
T.value("crNameOverride", "", "Stands for the release's name in the names of the chart's custom resources.")
T.value("topologySpreadConstraints", [], "Topology spread constraints of the pods.", LIST)
T.value("resources", {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "2Gi"}},
        "Resources of the server's container.", FREE)
T.value("extraEnv", [], "Further environment variables of the server's container.", LIST)
T.value("expandEnv", False, "Expand $VARIABLE in server.conf.")
T.value("configMap.annotations", {}, "Annotations of the ConfigMap with server.conf.", LABELS)
T.value("service.type", "ClusterIP", "Type of the server's Service.", one_of("ClusterIP", "NodePort", "LoadBalancer"))
T.value("service.port", 443, "Its first port, beside 8081; both lead to the server's API.", PORT)
T.value("service.annotations", {}, "Its annotations.", LABELS)
T.value("service.loadBalancerIP", "", "Its address, with the type LoadBalancer.")
T.value("service.externalTrafficPolicy", "", "Its external traffic policy.", one_of("", "Cluster", "Local"))
T.probe("livenessProbe", 10, "Liveness probe of the server")
T.probe("readinessProbe", 1, "Readiness probe of the server", failureThreshold=5)
T.probe("startupProbe", 1, "Startup probe of the server", failureThreshold=120)
T.value("healthChecks.port", 8080, "Port of the health checks.", PORT)
T.value("podDisruptionBudget.enabled", False, "Make a PodDisruptionBudget.")
T.value("podDisruptionBudget.minAvailable", "", "Its minAvailable.", NUMBER_OR_TEXT)
T.value("podDisruptionBudget.maxUnavailable", "", "Its maxUnavailable; 1 when neither is given.", NUMBER_OR_TEXT)
T.value("updateStrategy", {}, "How the StatefulSet replaces pods; empty: one after the other.", FREE)
T.refused("autoscaling", "several servers need a shared database, and dataStore.sql.databaseType is sqlite3")
T.refused("kind", "the server is a StatefulSet", when="other", allowed=("statefulset",), schema=STRING)
T.refused("externalServer", "a server outside of the release is not supported", when="set", schema=SWITCH)
T.refused("namespaceOverride", "everything is installed into the release's namespace", when="set", schema=STRING)

T = table("Server: identity and lifetimes")
T.refused("trustDomain", "give global.spire.trustDomain", when="set", schema=STRING)
T.refused("clusterName", "give global.spire.clusterName", when="set", schema=STRING)
T.refused("clusterDomain", "give global.k8s.clusterDomain", when="set", schema=STRING)
T.value("jwtIssuer", "", "The JWT issuer, where global.spire.jwtIssuer is empty.")
T.value("bundleConfigMap", "spire-bundle", "ConfigMap of the bundle, where global.spire.bundleConfigMap is empty.", TEXT)
for scope, text in (("caSubject", ""), ("ca.subject", "The same in the guide's spelling; goes before caSubject: ")):
    absent = scope == "ca.subject"
    T.value(f"{scope}.country", OMIT if absent else "ARPA", text + "C of the CA's subject: one, or a list.",
            {"type": ["string", "array"], "items": {"type": "string"}})
    T.value(f"{scope}.organization", OMIT if absent else "Example", text + "O of the CA's subject: one, or a list.",
            {"type": ["string", "array"], "items": {"type": "string"}})
    T.value(f"{scope}.commonName", OMIT if absent else "example.org", text + "CN of the CA's subject.", STRING)
KEY_TYPES = ("rsa-2048", "rsa-4096", "ec-p256", "ec-p384")
T.value("caKeyType", "ec-p256", "Type of the X.509 CA's key.", one_of(*KEY_TYPES))
T.value("jwtKeyType", "rsa-2048", "Type of the keys that sign JWT-SVIDs; RS256 is what every OIDC client reads.",
        one_of(*KEY_TYPES))
T.value("caTTL", "24h", "Life of the CA and of JWT keys.", DURATION)
T.value("agentTTL", "", "Life of agents' SVIDs; empty: defaultX509SvidTTL.", DURATION)
T.value("defaultX509SvidTTL", "4h", "Life of X509-SVIDs whose entry says nothing.", DURATION)
T.value("defaultJwtSvidTTL", "1h", "Life of JWT-SVIDs whose entry says nothing.", DURATION)
T.value("jwtSVIDSupport", True, "Issue JWT-SVIDs.")
T.value("adminIDs", [], "SPIFFE IDs whose SVIDs are administrators.")
T.value("auditLogEnabled", False, "Log every call of the API.")
T.value("logLevel", "info", "Log level.", one_of("debug", "info", "warn", "error"))
T.value("logFormat", "text", "Log format.", one_of("text", "json"))
T.value("rateLimit.attestation", True, "Limit attestations per address.")
T.value("rateLimit.signing", True, "Limit signing per address.")
T.value("pruneAttestedNodesExpiredFor", "", "Delete agents that expired longer ago; empty: never.", DURATION)
T.value("pruneTOFUNodes", False, "Also those that cannot attest again.")
T.value("maxAttestedNodeInfoStaleness", "", "How old what the server remembers of an agent may be.", DURATION)
T.value("config.server.cache_size", OMIT,
        "Accepted, and without effect: the index holds all entries, in less than 500 bytes each.", COUNT)
T.value("experimental.enabled", False, "Whether the settings below are written into server.conf.")
T.value("experimental.agentSPIFFEIDAsSelector", False, "agent_spiffe_id_as_selector.")
T.value("experimental.cacheReloadInterval", "5s", "cache_reload_interval; without effect, changes travel as events.",
        DURATION)
T.value("experimental.eventsBasedCache", False, "events_based_cache; without effect, it is always on.")
T.value("experimental.pruneEventsOlderThan", "12h", "prune_events_older_than.", DURATION)
T.value("experimental.featureFlags", [], "feature_flags.")
T.refused("experimental.requirePQKEM", "it is not built", when="set", schema=SWITCH)
T.refused("experimental.authOpaPolicyEngine", "OPA policies are not built", when="set", schema=FREE)

T = table("Server: where it keeps things")
T.value("persistence.type", "auto",
        "auto: a volume claim where the cluster has a default storage class (or one is named), or else an emptyDir, "
        "which ends with the pod. An installed server keeps what it has.", one_of("auto", "pvc", "emptyDir"))
T.value("persistence.size", "1Gi", "Size of the volume.", TEXT)
T.value("persistence.accessMode", "ReadWriteOnce", "Its access mode.", one_of("ReadWriteOnce", "ReadWriteOncePod"))
T.value("persistence.storageClass", None, "Its storage class; empty: global.spire.persistence.storageClass.",
        STRING_OR_NULL)
T.value("persistence.retain", True, "Keep the volume, and the upstream CA that the chart made, when the release is "
        "uninstalled.")
T.value("persistence.hostPath", OMIT, "Only read where persistence.type is hostPath, which is refused.", STRING)
T.value("dataStore.sql.databaseType", "sqlite3", "Kind of database.", STRING)
T.value("dataStore.sql.connectionString", OMIT, "The connection string: with sqlite3 the file; goes before file.", TEXT)
T.value("dataStore.sql.file", "/run/spire/data/datastore.sqlite3", "The database file.", TEXT)
T.value("dataStore.sql.inMemory", False, "Keep the database in memory: it ends with the pod.")
T.value("dataStore.sql.maxOpenConns", 100, "max_open_conns.", SECONDS)
T.value("dataStore.sql.maxIdleConns", 2, "max_idle_conns.", SECONDS)
T.value("dataStore.sql.connMaxLifetime", 0, "conn_max_lifetime, in seconds; 0: without end.", NUMBER_OR_TEXT)
T.value("dataStore.sql.disableMigration", False, "Leave a database of an older schema alone.")
T.refused("dataStore.sql.databaseType", "only sqlite3 is built", when="other", allowed=("sqlite3",))
for key, kind in (("databaseName", STRING), ("host", STRING), ("port", NUMBER_OR_TEXT), ("username", STRING),
                  ("password", STRING), ("options", LIST), ("rootCAPath", STRING), ("clientCertPath", STRING),
                  ("clientKeyPath", STRING), ("region", STRING)):
    T.value(f"dataStore.sql.{key}", OMIT, "For databases that are not built; not read with sqlite3.", kind)
T.refused("dataStore.sql.externalSecret", "sqlite3 has no password")
T.refused("dataStore.sql.readOnly", "sqlite3 has no replica")
T.value("keyManager.disk.enabled", True, "Keep keys in a file of the server's volume.")
T.value("keyManager.memory.enabled", False, "Keep keys in memory: each start of the server makes a new CA.")
T.refused("keyManager.awsKMS", "the KeyManager aws_kms is not built")

T = table("Server: upstream authority")
T.value("upstreamAuthority.disk.enabled", False, "Sign the server's CA with one from files.")
T.value("upstreamAuthority.disk.cert", "/run/spire/upstream_ca/tls.crt",
        "Path of the certificate in the server's container; the Secret is mounted there.",
        {"type": "string", "pattern": "^/.+/[^/]+$"})
T.value("upstreamAuthority.disk.key", "/run/spire/upstream_ca/tls.key", "Path of its key, in the same folder.",
        {"type": "string", "pattern": "^/.+/[^/]+$"})
T.value("upstreamAuthority.disk.bundle", "", "Path of the bundle, where the certificate is not self-signed.")
T.value("upstreamAuthority.disk.secret.create", True,
        "Make the Secret: from data, or without data a self-signed CA, kept over upgrades.")
T.value("upstreamAuthority.disk.secret.name", "spiffe-upstream-ca",
        "The Secret to use when create is false; one of type kubernetes.io/tls will do. The chart's own is called "
        "SERVER-upstream-ca.", TEXT)
T.value("upstreamAuthority.disk.secret.data.certificate", "", "The certificate, PEM.")
T.value("upstreamAuthority.disk.secret.data.key", "", "Its key, PEM.")
T.value("upstreamAuthority.disk.secret.data.bundle", "", "The bundle, PEM, where the certificate is not self-signed.")
T.value("upstreamAuthority.disk.secret.validDays", 365,
        "Life of the CA that the chart makes. An upgrade in the second half of it makes the next one; the server "
        "takes it over by itself, and both are in the bundle meanwhile.", COUNT)
for block, name in (("ejbca", "ejbca"), ("awsPCA", "aws_pca"), ("awsSecret", "awssecret"), ("gcpCAS", "gcp_cas"),
                    ("certManager", "cert-manager"), ("spire", "spire"), ("vault", "vault")):
    T.refused(f"upstreamAuthority.{block}", f"the UpstreamAuthority {name} is not built")

T = table("Server: attestation, bundle and federation")
T.value("nodeAttestor.k8sPSAT.enabled", True, "Attest agents by their service-account tokens.")
T.value("nodeAttestor.k8sPSAT.serviceAccountAllowList", [],
        "Further service accounts, NAMESPACE:NAME, beside the agents' own.")
T.value("nodeAttestor.k8sPSAT.audience", ["spire-server"], "Audiences that a token may have.")
T.value("nodeAttestor.k8sPSAT.allowedNodeLabelKeys", [], "Labels of the node that become selectors.")
T.value("nodeAttestor.k8sPSAT.allowedPodLabelKeys", [], "Labels of the agent's pod that become selectors.")
for key, kind in (("enabled", SWITCH), ("serviceAccountAllowList", STRINGS), ("audience", STRINGS),
                  ("allowedNodeLabelKeys", STRINGS), ("allowedPodLabelKeys", STRINGS)):
    T.value(f"nodeAttestor.k8sPsat.{key}", OMIT, f"nodeAttestor.k8sPSAT.{key} in the guide's spelling; goes before it.",
            kind)
T.value("nodeAttestor.joinToken.enabled", False, "Attest agents by join tokens.")
for block, name in (("httpChallenge", "http_challenge"), ("tpmDirect", "tpm"), ("awsIID", "aws_iid"),
                    ("aws_iid", "aws_iid"), ("gcpIIT", "gcp_iit"), ("gcp_iit", "gcp_iit"), ("azureMSI", "azure_msi"),
                    ("x509POP", "x509pop")):
    T.refused(f"nodeAttestor.{block}", f"the chart does not set up the NodeAttestor {name} yet" if name == "x509pop"
              else f"the NodeAttestor {name} is not built")
T.refused("nodeAttestor.externalK8sPSAT.clusters", "other clusters' agents are not supported yet", when="set",
          schema=FREE)
T.value("nodeAttestor.externalK8sPSAT.enabled", OMIT, "Other clusters' agents; means nothing without clusters.", SWITCH)
T.value("bundlePublisher.k8sConfigMap.enabled", True,
        "Keep the trust bundle in the bundle's ConfigMap, where the agents read it.")
T.value("bundlePublisher.k8sConfigMap.namespace", "", "Namespace of the ConfigMap; empty: the release's.")
T.value("bundlePublisher.k8sConfigMap.format", "",
        "Its format, and its key: bundle.spiffe, bundle.crt or bundle.jwks. Empty: pem where the chart makes the upstream "
        "CA's Secret, so that the bundle is there before the server is, and spiffe otherwise.",
        one_of("", "spiffe", "pem", "jwks"))
T.refused("bundlePublisher.externalK8sConfigMap.clusters", "other clusters are not supported yet", when="set",
          schema=FREE)
T.value("bundlePublisher.externalK8sConfigMap.enabled", OMIT, "Other clusters; means nothing without clusters.", SWITCH)
for block in ("awsRolesAnywhereTrustAnchor", "awsS3", "gcpCloudStorage"):
    T.refused(f"bundlePublisher.{block}", "the BundlePublisher is not built")
for block, spelling in (("k8sBundle", ""), ("k8sbundle", " In the guide's spelling; goes before k8sBundle.")):
    first = block == "k8sBundle"
    T.value(f"notifier.{block}.enabled", False if first else OMIT,
            "Keep the bundle in the ConfigMap as PEM with the Notifier k8sbundle; the publisher is then off."
            + spelling, SWITCH)
    T.value(f"notifier.{block}.namespace", "" if first else OMIT,
            "Namespace of the ConfigMap; empty: the release's." + spelling, STRING)
    T.value(f"notifier.{block}.webhookLabel", "" if first else OMIT,
            "Webhook configurations with this label get the bundle as caBundle." + spelling, STRING)
    T.value(f"notifier.{block}.apiServiceLabel", "" if first else OMIT,
            "APIServices with this label get the bundle as caBundle." + spelling, STRING)
T.refused("notifier.externalK8sBundle", "other clusters are not supported yet")
T.value("federation.enabled", False, "Serve the SPIFFE bundle endpoint; global.spire.bundleEndpoint switches it on too.")
T.value("federation.bundleEndpoint.address", "0.0.0.0", "Its address.", TEXT)
T.value("federation.bundleEndpoint.port", 8443, "Its port.", PORT)
T.value("federation.bundleEndpoint.refreshHint", "5m", "How often peers are to look.", DURATION)
T.value("federation.tls.spire.enabled", True, "Serve it with the server's own SVID.")
T.refused("federation.tls.spire.enabled", "the bundle endpoint is served with the server's SVID", when="other",
          allowed=(True,))
T.refused("federation.tls.externalSecret", "the bundle endpoint is served with the server's SVID")
T.refused("federation.tls.certManager", "the bundle endpoint is served with the server's SVID")
T.refused("federation.ingress", "an ingress for the bundle endpoint is not built")
T.refused("federation.gatewayAPI", "Gateway API routes are not built")
T.refused("federation.bundleEndpoint.profile", "the bundle endpoint is served with the server's SVID", when="set",
          schema=FREE)
T.refused("federation.federatesWith", "federation relations are not built", when="set", schema=FREE)

T = table("Server: metrics and parts that are not built")
T.metrics(9988)
T.value("telemetry.datadog.enabled", False, "Send metrics to Datadog's agent.")
T.value("telemetry.datadog.address", "datadog.kube-system.svc", "Its address.", TEXT)
T.value("telemetry.datadog.port", 8125, "Its port.", PORT)
for block in ("ingress", "gatewayAPI", "tornjak", "dynamicRegistration", "trustSync", "spireIdentityExchange", "spike",
              "credentialComposer.cel", "credentialComposer.uniqueID"):
    T.refused(block, f"{block} is not built")
for block in ("customPlugins", "unsupportedBuiltInPlugins"):
    for kind in ("bundlePublisher", "credentialComposer", "keyManager", "nodeAttestor", "upstreamAuthority", "notifier"):
        T.refused(f"{block}.{kind}", "external plugins are not built" if block == "customPlugins" else
                  "plugins are set up by their own values", when="set", schema=FREE)
for block in ("tools", "chown", "jwtSVIDExecConfig", "externalServerSubject", "secrets", "tests.tls", "tests.bash",
              "credentialComposer.spireIdentityExchange", "externalControllerManagers.defaults",
              "nodeAttestor.externalK8sPSAT.defaults", "bundlePublisher.externalK8sConfigMap.defaults"):
    T.value(block, OMIT, "Taken from other charts' values: there is nothing in this chart that it would be for.", FREE)
T.refused("kubeConfigs", "other clusters are not supported yet", when="set", schema=FREE)
T.refused("externalControllerManagers.clusters", "other clusters are not supported yet", when="set", schema=FREE)
T.value("externalControllerManagers.enabled", OMIT, "Other clusters; means nothing without clusters.", SWITCH)

T = table("Controller manager")
T.prefix = "spire-server.controllerManager"
T.value("enabled", True, "Run the controller manager beside the server.")
T.image("spire-controller-manager")
T.value("resources", {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "512Mi"}},
        "Resources of its container.", FREE)
T.value("securityContext", {}, "Laid over its container's security context.", FREE)
T.value("extraEnv", [], "Further environment variables of its container.", LIST)
T.value("expandEnv", False, "Expand $VARIABLE in its configuration.")
T.value("configMap.annotations", {}, "Annotations of the ConfigMap with its configuration.", LABELS)
T.value("className", "",
        "Objects of this class are its own; empty: NAMESPACE-RELEASE.")
T.value("watchClassless", True, "Also those without a class.")
T.value("entryIDPrefix", "", "Prefix of the ids of its entries; entries without it are left alone. Empty: the "
        "cluster's name, or no prefix when addEntryIDPrefix is false.")
T.value("addEntryIDPrefix", True, "Whether its entries have a prefix. Without one, it deletes entries made by others.")
T.value("entryIDPrefixCleanup", False, "A former prefix whose entries are deleted; \"\": entries without any; "
        "false: none.", {"type": ["string", "boolean"]})
T.value("gcInterval", 10000000000, "How often everything is compared anew, in nanoseconds.",
        {"type": "integer", "minimum": 1000000})
T.value("ignoreNamespaces", ["kube-system", "kube-public", "local-path-storage", "openshift-.*", "ibm-.*"],
        "Namespaces whose pods get no entries, as regular expressions.")
T.value("parentIDTemplate", "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}",
        "Template of the parent's SPIFFE ID.", TEXT)
T.value("podAnnotation", "", "Pods whose annotation of this name is a SPIFFE ID are registered with it, as with "
        "spire.spiffe.io/spiffe-id; empty: off.")
T.value("reconcile.clusterSPIFFEIDs", True, "Take care of ClusterSPIFFEIDs.")
T.value("reconcile.clusterStaticEntries", True, "Take care of ClusterStaticEntries.")
T.value("reconcile.clusterFederatedTrustDomains", True, "Take care of ClusterFederatedTrustDomains.")
T.value("logLevel", "info", "Log level.", one_of("debug", "info", "warn", "error"))
T.value("logEncoding", "console", "Log format.", one_of("console", "json"))
T.value("leaderElection.leaseDuration", "15s", "How long a leader that is silent stays leader.", DURATION)
T.value("leaderElection.renewDeadline", "10s", "How long a leader tries to renew.", DURATION)
T.value("leaderElection.retryPeriod", "2s", "Between tries.", DURATION)
T.value("service.type", "ClusterIP", "Type of the webhook's Service.", one_of("ClusterIP"))
T.value("service.port", 443, "Its port.", PORT)
T.value("service.annotations", {}, "Its annotations.", LABELS)
T.value("validatingWebhookConfiguration.enabled", True, "Have the API server ask the webhook about custom resources.")
T.value("validatingWebhookConfiguration.failurePolicy", "Ignore",
        "What happens while the webhook cannot be asked. Ignore: objects are taken, and errors stand in their status; "
        "nothing is ever stuck. Fail: they are refused. The chart's own objects are not asked about.",
        one_of("Ignore", "Fail"))
T.value("validatingWebhookConfiguration.timeoutSeconds", 3, "How long the API server waits for the webhook.",
        {"type": "integer", "minimum": 1, "maximum": 30})
T.probe("livenessProbe", 10, "Liveness probe of the controller manager")
T.probe("readinessProbe", 1, "Readiness probe of the controller manager", failureThreshold=5)
T.probe("startupProbe", 1, "Startup probe of the controller manager", failureThreshold=120)
T.value("installAndUpgradeHook", OMIT, "Taken from other charts' values: this chart has no such hook, on or off.", FREE)
T.value("deleteHook", OMIT, "Taken from other charts' values: this chart has no such hook, on or off.", FREE)
T.value("filterByClassName", OMIT, "Without effect here: objects of other classes are never looked at.", SWITCH)
T.refused("staticManifestMode", "static manifests are not set up by the chart", when="other", allowed=("off",),
          schema=STRING)
T.refused("cacheNamespaces", "all namespaces are watched; see ignoreNamespaces", when="set", schema=FREE)
IDENTITY = {"type": "object", "additionalProperties": False, "properties": {
    **{key: SWITCH for key in ("enabled", "admin", "downstream", "autoPopulateDNSNames", "fallback")},
    **{key: STRINGS for key in ("dnsNameTemplates", "federatesWith", "workloadSelectorTemplates")},
    **{key: FREE for key in ("namespaceSelector", "podSelector", "annotations", "labels")},
    **{key: NUMBER_OR_TEXT for key in ("ttl", "jwtTTL")},
    "spiffeIDTemplate": STRING, "hint": STRING,
    "type": STRING}}
T.value("identities.clusterSPIFFEIDs", {
    "default": {"enabled": True, "fallback": True},
    "oidc-discovery-provider": {"enabled": True, "type": "oidc-discovery-provider", "autoPopulateDNSNames": True},
    "test-keys": {"enabled": True, "type": "test-keys"}},
    "ClusterSPIFFEIDs that the chart makes, by name: default gives pods that nothing else selects an identity from "
    "their namespace and service account; the other two are for the OIDC provider and for helm test. Members as in "
    "the resource, and enabled, type (base: outside the release's namespace; raw: the selectors as they stand; types of programs that "
    "are not part of this chart are refused when enabled is true, and left out otherwise), "
    "labels, annotations.", {"type": "object", "additionalProperties": IDENTITY})
T.value("identities.clusterStaticEntries", {},
        "ClusterStaticEntries that the chart makes, by name; members as in the resource, and enabled.",
        {"type": "object", "additionalProperties": FREE})
T.refused("identities.clusterFederatedTrustDomains", "federation relations are not built", when="set", schema=FREE)

T = table("Server: helm test")
T.value("tests.enabled", True, "Have helm test look at the server, the identities and the OIDC provider.")
T.value("tests.hostAliases", OMIT, "Not needed here: the test reaches the Services by name.", LIST)
