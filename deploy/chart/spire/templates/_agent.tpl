{{- /* SPDX-License-Identifier: Apache-2.0

The agent's configuration; takes the root. */ -}}

{{- define "spire.agent.conf" -}}
{{- $agent := index .Values "spire-agent" -}}
{{- $interval := dig "agent" "sync_interval" "" ($agent.config | default dict) -}}
{{- $k8s := $agent.workloadAttestors.k8s -}}
{{- $skip := eq $k8s.verification.type "skip" -}}
{{- if hasKey $k8s "skipKubeletVerification" -}}
  {{- $skip = $k8s.skipKubeletVerification -}}
{{- end -}}
agent:
  trust_domain: {{ .Values.global.spire.trustDomain | quote }}
  server_address: {{ include "spire.agent.address" . | quote }}
  server_port: {{ int $agent.server.port }}
  socket_path: {{ $agent.socketPath | quote }}
  {{- if $agent.sockets.admin.enabled }}
  admin_socket_path: /tmp/spire-agent/private/admin.sock
  {{- end }}
  data_dir: /var/lib/spire
  log_level: {{ $agent.logLevel | quote }}
  log_format: {{ $agent.logFormat | quote }}
  {{- if $agent.trustBundleURL }}
  trust_bundle_url: {{ $agent.trustBundleURL | quote }}
  trust_bundle_format: {{ $agent.trustBundleFormat | quote }}
  {{- else if $agent.trustBundleHostPath }}
  trust_bundle_path: /run/spire/bundle/{{ base $agent.trustBundleHostPath }}
  trust_bundle_format: {{ $agent.trustBundleFormat | quote }}
  {{- else }}
  trust_bundle_path: /run/spire/bundle/{{ include "spire.bundle.key" . }}
  trust_bundle_format: {{ include "spire.bundle.format" . | quote }}
  {{- end }}
  {{- with $agent.availabilityTarget }}
  availability_target: {{ . | quote }}
  {{- end }}
  {{- if or $interval $agent.experimental.enabled }}
  experimental:
    sync_interval: {{ $interval | default $agent.experimental.syncInterval | quote }}
    {{- if and $agent.experimental.enabled $agent.experimental.featureFlags }}
    feature_flags: {{ toJson $agent.experimental.featureFlags }}
    {{- end }}
  {{- end }}
plugins:
  KeyManager:
    {{- if $agent.keyManager.disk.enabled }}
    disk:
      plugin_data:
        directory: /var/lib/spire
    {{- else }}
    memory:
      plugin_data: {}
    {{- end }}
  NodeAttestor:
    k8s_psat:
      plugin_data:
        cluster: {{ .Values.global.spire.clusterName | quote }}
        token_path: /var/run/secrets/tokens/spire-agent
  WorkloadAttestor:
    {{- if $k8s.enabled }}
    k8s:
      plugin_data:
        skip_kubelet_verification: {{ $skip }}
        {{- if ne $agent.kubeletAddress.mode "localhost" }}
        node_name_env: KUBELET_ADDR
        {{- end }}
        disable_container_selectors: {{ $k8s.disableContainerSelectors }}
        use_new_container_locator: {{ $k8s.useNewContainerLocator }}
        verbose_container_locator_logs: {{ $k8s.verboseContainerLocatorLogs }}
    {{- end }}
    {{- if $agent.workloadAttestors.unix.enabled }}
    unix:
      plugin_data: {}
    {{- end }}
{{- if $agent.healthChecks.enabled }}
health_checks:
  listener_enabled: true
  bind_address: 0.0.0.0
  bind_port: {{ $agent.healthChecks.port | int | quote }}
  live_path: /live
  ready_path: /ready
{{- end }}
{{- with include "spire.server.telemetry" (dict "root" . "component" "spire-agent") | fromJson }}
telemetry:
- {{ toJson . }}
{{- end }}
{{- end }}
