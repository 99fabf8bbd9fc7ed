{{- /* SPDX-License-Identifier: Apache-2.0

What the schema cannot say: values of parts that are not built, and values that do not go together. Each message
names the value. */ -}}

{{- define "spire.check" -}}
{{- range .Files.Get "files/refused.json" | fromJsonArray -}}
  {{- $refusal := . -}}
  {{- $value := $.Values -}}
  {{- $there := true -}}
  {{- range .path -}}
    {{- if and $there (kindIs "map" $value) (hasKey $value .) -}}
      {{- $value = index $value . -}}
    {{- else -}}
      {{- $there = false -}}
    {{- end -}}
  {{- end -}}
  {{- $name := join "." .path -}}
  {{- if and $there (eq .when "enabled") (kindIs "map" $value) -}}
    {{- if eq (get $value "enabled" | toString) "true" -}}
      {{- fail (printf "%s.enabled: %s" $name .reason) -}}
    {{- end -}}
  {{- else if and $there (eq .when "set") $value -}}
    {{- fail (printf "%s: %s" $name .reason) -}}
  {{- else if and $there (eq .when "other") -}}
    {{- $taken := false -}}
    {{- range .allowed -}}
      {{- $taken = or $taken (eq (toJson .) (toJson $value)) -}}
    {{- end -}}
    {{- if not $taken -}}
      {{- fail (printf "%s %v: %s" $name $value .reason) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- include "spire.check.strict" . -}}
{{- if (index .Values "spire-server").enabled -}}
{{- include "spire.check.server" . -}}
{{- end -}}
{{- if (index .Values "spire-agent").enabled -}}
{{- include "spire.check.agent" . -}}
{{- end -}}
{{- include "spire.check.oidc" . -}}
{{- end }}

{{- define "spire.check.strict" -}}
{{- $spire := .Values.global.spire -}}
{{- if and $spire.recommendations.enabled $spire.recommendations.namespaceLayout -}}
  {{- fail "global.spire.recommendations.namespaceLayout: everything is installed into the release's namespace; set it to false" -}}
{{- end -}}
{{- if or $spire.strictMode (and $spire.recommendations.enabled $spire.recommendations.strictMode) -}}
  {{- if eq $spire.trustDomain "example.org" -}}
    {{- fail "global.spire.trustDomain: strict mode wants one of your own, not example.org" -}}
  {{- end -}}
  {{- if eq $spire.clusterName "example-cluster" -}}
    {{- fail "global.spire.clusterName: strict mode wants one of your own, not example-cluster" -}}
  {{- end -}}
  {{- $subject := include "spire.server.subject" . | fromJson -}}
  {{- if or (has "Example" $subject.organization) (eq $subject.common_name "example.org") -}}
    {{- fail "spire-server.caSubject: strict mode wants organization and commonName of your own" -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "spire.check.server" -}}
{{- $server := index .Values "spire-server" -}}
{{- if gt (int $server.replicaCount) 1 -}}
  {{- fail (printf "spire-server.replicaCount %d: several servers need a shared database, and dataStore.sql.databaseType is sqlite3" (int $server.replicaCount)) -}}
{{- end -}}
{{- if and $server.keyManager.disk.enabled $server.keyManager.memory.enabled -}}
  {{- fail "spire-server.keyManager: exactly one may be enabled; disk and memory are" -}}
{{- end -}}
{{- if not (or $server.keyManager.disk.enabled $server.keyManager.memory.enabled) -}}
  {{- fail "spire-server.keyManager: exactly one must be enabled: disk or memory" -}}
{{- end -}}
{{- $disk := $server.upstreamAuthority.disk -}}
{{- if $disk.enabled -}}
  {{- if ne (dir $disk.cert) (dir $disk.key) -}}
    {{- fail "spire-server.upstreamAuthority.disk.key: must be in the folder of cert, where the Secret is mounted" -}}
  {{- end -}}
  {{- with include "spire.upstream.bundle" . -}}
    {{- if ne (dir .) (dir $disk.cert) -}}
      {{- fail "spire-server.upstreamAuthority.disk.bundle: must be in the folder of cert, where the Secret is mounted" -}}
    {{- end -}}
  {{- end -}}
  {{- range list "/run/spire/data" "/run/spire/config" "/tmp" "/tmp/spire-server/private" -}}
    {{- if eq (dir $disk.cert) . -}}
      {{- fail (printf "spire-server.upstreamAuthority.disk.cert: something else is mounted at %s; take another folder" .) -}}
    {{- end -}}
  {{- end -}}
  {{- $data := $disk.secret.data -}}
  {{- if ne (empty $data.certificate) (empty $data.key) -}}
    {{- fail "spire-server.upstreamAuthority.disk.secret.data: certificate and key go together" -}}
  {{- end -}}
  {{- if and $data.bundle (not $data.certificate) -}}
    {{- fail "spire-server.upstreamAuthority.disk.secret.data.bundle: wants certificate and key too" -}}
  {{- end -}}
{{- end -}}
{{- if not (or (include "spire.server.psat" . | fromJson).enabled $server.nodeAttestor.joinToken.enabled) -}}
  {{- fail "spire-server.nodeAttestor: at least one must be enabled: k8sPSAT (k8sPsat) or joinToken" -}}
{{- end -}}
{{- $sql := $server.dataStore.sql -}}
{{- if and $sql.inMemory $sql.connectionString -}}
  {{- fail "spire-server.dataStore.sql.inMemory: does not go with connectionString" -}}
{{- end -}}
{{- $cleanup := $server.controllerManager.entryIDPrefixCleanup -}}
{{- if eq ($cleanup | toString) "true" -}}
  {{- fail "spire-server.controllerManager.entryIDPrefixCleanup: a prefix, \"\" or false" -}}
{{- end -}}
{{- range $name, $identity := $server.controllerManager.identities.clusterSPIFFEIDs -}}
  {{- if and $identity.enabled (not (has ($identity.type | default "base") (include "spire.identity.types" . | fromJsonArray))) -}}
    {{- fail (printf "spire-server.controllerManager.identities.clusterSPIFFEIDs.%s.type %s: one of base, raw, oidc-discovery-provider, test-keys" $name $identity.type) -}}
  {{- end -}}
  {{- if and (eq ($identity.type | default "base") "raw") (not $identity.spiffeIDTemplate) -}}
    {{- fail (printf "spire-server.controllerManager.identities.clusterSPIFFEIDs.%s.spiffeIDTemplate: must be given with type raw" $name) -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "spire.check.agent" -}}
{{- $agent := index .Values "spire-agent" -}}
{{- $psat := dig "enabled" $agent.nodeAttestor.k8sPSAT.enabled ($agent.nodeAttestor.k8sPsat | default dict) -}}
{{- if not $psat -}}
  {{- fail "spire-agent.nodeAttestor: exactly one must be enabled: k8sPSAT (k8sPsat)" -}}
{{- end -}}
{{- if not (or $agent.keyManager.memory.enabled $agent.keyManager.disk.enabled) -}}
  {{- fail "spire-agent.keyManager: one must be enabled: memory or disk" -}}
{{- end -}}
{{- if not (or $agent.workloadAttestors.k8s.enabled $agent.workloadAttestors.unix.enabled) -}}
  {{- fail "spire-agent.workloadAttestors: at least one must be enabled: k8s or unix" -}}
{{- end -}}
{{- if and (eq $agent.kubeletAddress.mode "localhost") (ne (include "spire.agent.hostnetwork" .) "true") -}}
  {{- fail "spire-agent.hostNetwork: must be true (or auto) where kubeletAddress.mode is localhost" -}}
{{- end -}}
{{- if and $agent.trustBundleURL $agent.trustBundleHostPath -}}
  {{- fail "spire-agent.trustBundleURL: does not go with trustBundleHostPath" -}}
{{- end -}}
{{- if and (index .Values "spire-server").enabled (not (or $agent.trustBundleURL $agent.trustBundleHostPath)) -}}
  {{- if eq (include "spire.bundle.keeper" .) "none" -}}
    {{- fail "spire-agent: has no trust bundle; enable spire-server.bundlePublisher.k8sConfigMap or spire-server.notifier.k8sBundle, or give spire-agent.trustBundleURL or trustBundleHostPath" -}}
  {{- end -}}
  {{- if ne (include "spire.bundle.namespace" .) .Release.Namespace -}}
    {{- fail (printf "spire-server: the bundle's ConfigMap is in the namespace %s, where the agents of %s cannot read it" (include "spire.bundle.namespace" .) .Release.Namespace) -}}
  {{- end -}}
  {{- if eq (include "spire.bundle.format" .) "jwks" -}}
    {{- fail "spire-server.bundlePublisher.k8sConfigMap.format: agents read spiffe and pem" -}}
  {{- end -}}
{{- end -}}
{{- if has (dir $agent.socketPath) (list "/run/spire/config" "/run/spire/bundle" "/tmp" "/run/spire" "/run") -}}
  {{- fail "spire-agent.socketPath: wants a folder of its own, as workloads get the whole folder" -}}
{{- end -}}
{{- end }}

{{- define "spire.check.oidc" -}}
{{- $oidc := index .Values "spiffe-oidc-discovery-provider" -}}
{{- if and $oidc.enabled $oidc.tls.spire.enabled $oidc.tls.externalSecret.enabled -}}
  {{- fail "spiffe-oidc-discovery-provider.tls: only one may be enabled: spire (the default) or externalSecret" -}}
{{- end -}}
{{- if and $oidc.enabled $oidc.tls.externalSecret.enabled (not $oidc.tls.externalSecret.secretName) -}}
  {{- fail "spiffe-oidc-discovery-provider.tls.externalSecret.secretName: must be given" -}}
{{- end -}}
{{- end }}
