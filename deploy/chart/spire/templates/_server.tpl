{{- /* SPDX-License-Identifier: Apache-2.0

The server's and the controller manager's configuration. All take the root. */ -}}

{{- define "spire.server.subject" -}}
{{- $server := index .Values "spire-server" -}}
{{- $own := $server.caSubject -}}
{{- $guide := dig "subject" dict ($server.ca | default dict) -}}
{{- $global := .Values.global.spire.caSubject | default dict -}}
{{- $subject := dict -}}
{{- range $to, $from := dict "country" "country" "organization" "organization" "common_name" "commonName" -}}
  {{- $value := coalesce (get $global $from) (get $guide $from) (get $own $from) -}}
  {{- if ne $to "common_name" -}}
    {{- $value = kindIs "slice" $value | ternary $value (list $value) -}}
  {{- end -}}
  {{- $_ := set $subject $to $value -}}
{{- end -}}
{{- $subject | toJson -}}
{{- end }}

{{- define "spire.server.psat" -}}
{{- $attestor := (index .Values "spire-server").nodeAttestor -}}
{{- $psat := deepCopy $attestor.k8sPSAT -}}
{{- range $key, $value := $attestor.k8sPsat | default dict -}}
  {{- $_ := set $psat $key $value -}}
{{- end -}}
{{- $psat | toJson -}}
{{- end }}

{{- define "spire.server.telemetry" -}}
{{- $telemetry := (index .root.Values .component).telemetry -}}
{{- $sinks := dict -}}
{{- with include "spire.metrics" . -}}
  {{- $_ := set $sinks "Prometheus" (list (dict "host" ($telemetry.prometheus.host | default "0.0.0.0") "port" (int .))) -}}
{{- end -}}
{{- if $telemetry.datadog.enabled -}}
  {{- $_ := set $sinks "DogStatsd" (list (dict "address" (printf "%s:%d" $telemetry.datadog.address (int $telemetry.datadog.port)))) -}}
{{- end -}}
{{- $sinks | toJson -}}
{{- end }}

{{- define "spire.server.plugins" -}}
{{- $server := index .Values "spire-server" -}}
{{- $cluster := .Values.global.spire.clusterName -}}
{{- $sql := $server.dataStore.sql -}}
{{- $psat := include "spire.server.psat" . | fromJson -}}
{{- $disk := $server.upstreamAuthority.disk -}}
{{- $keeper := include "spire.bundle.keeper" . -}}
{{- $agent := printf "%s:%s" .Release.Namespace (include "spire.serviceaccount" (dict "root" . "component" "spire-agent")) -}}
DataStore:
  sql:
    plugin_data:
      database_type: sqlite3
      connection_string: {{ ternary "file::memory:?cache=shared" ($sql.connectionString | default $sql.file) $sql.inMemory | quote }}
      max_open_conns: {{ int $sql.maxOpenConns }}
      max_idle_conns: {{ int $sql.maxIdleConns }}
      {{- if not (has ($sql.connMaxLifetime | toString) (list "0" "")) }}
      conn_max_lifetime: {{ kindIs "string" $sql.connMaxLifetime | ternary $sql.connMaxLifetime (printf "%vs" $sql.connMaxLifetime) | quote }}
      {{- end }}
      disable_migration: {{ $sql.disableMigration }}
KeyManager:
  {{- if $server.keyManager.disk.enabled }}
  disk:
    plugin_data:
      keys_path: /run/spire/data/keys.json
  {{- else }}
  memory:
    plugin_data: {}
  {{- end }}
NodeAttestor:
  {{- if $psat.enabled }}
  k8s_psat:
    plugin_data:
      clusters:
      - {{ $cluster | quote }}:
          service_account_allow_list: {{ prepend $psat.serviceAccountAllowList $agent | toJson }}
          audience: {{ $psat.audience | toJson }}
          allowed_node_label_keys: {{ $psat.allowedNodeLabelKeys | toJson }}
          allowed_pod_label_keys: {{ $psat.allowedPodLabelKeys | toJson }}
  {{- end }}
  {{- if $server.nodeAttestor.joinToken.enabled }}
  join_token:
    plugin_data: {}
  {{- end }}
{{- if $disk.enabled }}
UpstreamAuthority:
  disk:
    plugin_data:
      cert_file_path: {{ $disk.cert | quote }}
      key_file_path: {{ $disk.key | quote }}
      {{- with include "spire.upstream.bundle" . }}
      bundle_file_path: {{ . | quote }}
      {{- end }}
{{- end }}
{{- if eq $keeper "publisher" }}
BundlePublisher:
  k8s_configmap:
    plugin_data:
      clusters:
      - {{ $cluster | quote }}:
          configmap_name: {{ include "spire.bundle.configmap" . | quote }}
          configmap_key: {{ include "spire.bundle.key" . | quote }}
          namespace: {{ include "spire.bundle.namespace" . | quote }}
          format: {{ include "spire.bundle.format" . | quote }}
{{- else if eq $keeper "notifier" }}
{{- $notifier := merge dict ($server.notifier.k8sbundle | default dict) $server.notifier.k8sBundle }}
Notifier:
  k8sbundle:
    plugin_data:
      namespace: {{ include "spire.bundle.namespace" . | quote }}
      config_map: {{ include "spire.bundle.configmap" . | quote }}
      config_map_key: {{ include "spire.bundle.key" . | quote }}
      {{- with $notifier.webhookLabel }}
      webhook_label: {{ . | quote }}
      {{- end }}
      {{- with $notifier.apiServiceLabel }}
      api_service_label: {{ . | quote }}
      {{- end }}
{{- end }}
{{- end }}

{{- define "spire.server.conf" -}}
{{- $server := index .Values "spire-server" -}}
{{- $endpoint := include "spire.endpoint" . | fromJson -}}
server:
  trust_domain: {{ .Values.global.spire.trustDomain | quote }}
  bind_address: 0.0.0.0
  bind_port: 8081
  socket_path: /tmp/spire-server/private/api.sock
  data_dir: /run/spire/data
  log_level: {{ $server.logLevel | quote }}
  log_format: {{ $server.logFormat | quote }}
  audit_log_enabled: {{ $server.auditLogEnabled }}
  ca_key_type: {{ $server.caKeyType | quote }}
  jwt_key_type: {{ $server.jwtKeyType | quote }}
  ca_ttl: {{ $server.caTTL | quote }}
  ca_subject:
  - {{ include "spire.server.subject" . }}
  default_x509_svid_ttl: {{ $server.defaultX509SvidTTL | quote }}
  default_jwt_svid_ttl: {{ $server.defaultJwtSvidTTL | quote }}
  {{- with $server.agentTTL }}
  agent_ttl: {{ . | quote }}
  {{- end }}
  disable_jwt_svids: {{ not $server.jwtSVIDSupport }}
  jwt_issuer: {{ include "spire.issuer" . | quote }}
  {{- with $server.adminIDs }}
  admin_ids: {{ toJson . }}
  {{- end }}
  {{- with $server.pruneAttestedNodesExpiredFor }}
  prune_attested_nodes_expired_for: {{ . | quote }}
  {{- end }}
  {{- if $server.pruneTOFUNodes }}
  prune_tofu_nodes: true
  {{- end }}
  {{- with $server.maxAttestedNodeInfoStaleness }}
  max_attested_node_info_staleness: {{ . | quote }}
  {{- end }}
  ratelimit:
    attestation: {{ $server.rateLimit.attestation }}
    signing: {{ $server.rateLimit.signing }}
  {{- if $endpoint }}
  federation:
    bundle_endpoint:
      address: {{ $endpoint.address | quote }}
      port: {{ int $endpoint.port }}
      refresh_hint: {{ $server.federation.bundleEndpoint.refreshHint | quote }}
      profile:
      - https_spiffe: {}
  {{- end }}
  {{- with $server.experimental }}
  {{- if .enabled }}
  experimental:
    agent_spiffe_id_as_selector: {{ .agentSPIFFEIDAsSelector }}
    cache_reload_interval: {{ .cacheReloadInterval | quote }}
    events_based_cache: {{ .eventsBasedCache }}
    prune_events_older_than: {{ .pruneEventsOlderThan | quote }}
    {{- with .featureFlags }}
    feature_flags: {{ toJson . }}
    {{- end }}
  {{- end }}
  {{- end }}
plugins:
  {{- include "spire.server.plugins" . | nindent 2 }}
health_checks:
  listener_enabled: true
  bind_address: 0.0.0.0
  bind_port: {{ $server.healthChecks.port | int | quote }}
  live_path: /live
  ready_path: /ready
{{- with include "spire.server.telemetry" (dict "root" . "component" "spire-server") | fromJson }}
telemetry:
- {{ toJson . }}
{{- end }}
{{- end }}

{{- define "spire.controller.webhook" -}}
{{ .Release.Namespace }}-spire-controller-manager-webhook
{{- end }}

{{- define "spire.controller.conf" -}}
{{- $controller := (index .Values "spire-server").controllerManager -}}
{{- $leads := gt (int (index .Values "spire-server").replicaCount) 1 -}}
apiVersion: spire.spiffe.io/v1alpha1
kind: ControllerManagerConfig
metadata:
  name: spire-controller-manager
  namespace: {{ .Release.Namespace }}
trustDomain: {{ .Values.global.spire.trustDomain | quote }}
clusterName: {{ .Values.global.spire.clusterName | quote }}
clusterDomain: {{ .Values.global.k8s.clusterDomain | quote }}
className: {{ include "spire.class" . | quote }}
watchClassless: {{ $controller.watchClassless }}
{{- with $controller.entryIDPrefix | default ($controller.addEntryIDPrefix | ternary .Values.global.spire.clusterName "") }}
entryIDPrefix: {{ . | quote }}
{{- end }}
{{- if kindIs "string" $controller.entryIDPrefixCleanup }}
entryIDPrefixCleanup: {{ $controller.entryIDPrefixCleanup | quote }}
{{- end }}
gcInterval: {{ int64 $controller.gcInterval }}
ignoreNamespaces: {{ toJson $controller.ignoreNamespaces }}
parentIDTemplate: {{ $controller.parentIDTemplate | quote }}
{{- with $controller.podAnnotation }}
podAnnotation: {{ . | quote }}
{{- end }}
reconcile: {{ toJson $controller.reconcile }}
spireServerSocketPath: /spire-server/api.sock
logLevel: {{ $controller.logLevel | quote }}
logEncoding: {{ $controller.logEncoding | quote }}
metrics:
  bindAddress: 0.0.0.0:8082
health:
  healthProbeBindAddress: 0.0.0.0:8083
leaderElection:
  leaderElect: {{ $leads }}
  {{- if $leads }}
  resourceName: spire-controller-manager
  resourceNamespace: {{ .Release.Namespace }}
  leaseDuration: {{ $controller.leaderElection.leaseDuration | quote }}
  renewDeadline: {{ $controller.leaderElection.renewDeadline | quote }}
  retryPeriod: {{ $controller.leaderElection.retryPeriod | quote }}
  {{- end }}
{{- if $controller.validatingWebhookConfiguration.enabled }}
validatingWebhookConfigurationName: {{ include "spire.controller.webhook" . | quote }}
{{- end }}
{{- end }}
