{{- /* SPDX-License-Identifier: Apache-2.0

What follows from the values, decided in one place each. All take the root. */ -}}

{{- define "spire.bundle.configmap" -}}
{{- .Values.global.spire.bundleConfigMap | default (index .Values "spire-server").bundleConfigMap -}}
{{- end }}

{{- /* Who keeps the ConfigMap: notifier, publisher or none. */ -}}
{{- define "spire.bundle.keeper" -}}
{{- $server := index .Values "spire-server" -}}
{{- if not $server.enabled -}}
none
{{- else if dig "enabled" $server.notifier.k8sBundle.enabled ($server.notifier.k8sbundle | default dict) -}}
notifier
{{- else if $server.bundlePublisher.k8sConfigMap.enabled -}}
publisher
{{- else -}}
none
{{- end -}}
{{- end }}

{{- define "spire.bundle.namespace" -}}
{{- $server := index .Values "spire-server" -}}
{{- $notifier := $server.notifier.k8sBundle -}}
{{- if eq (include "spire.bundle.keeper" .) "notifier" -}}
{{- dig "namespace" $notifier.namespace ($server.notifier.k8sbundle | default dict) | default .Release.Namespace -}}
{{- else -}}
{{- $server.bundlePublisher.k8sConfigMap.namespace | default .Release.Namespace -}}
{{- end -}}
{{- end }}

{{- define "spire.bundle.format" -}}
{{- $server := index .Values "spire-server" -}}
{{- $disk := $server.upstreamAuthority.disk -}}
{{- if eq (include "spire.bundle.keeper" .) "notifier" -}}
pem
{{- else -}}
{{- $server.bundlePublisher.k8sConfigMap.format | default (and $disk.enabled $disk.secret.create | ternary "pem" "spiffe") -}}
{{- end -}}
{{- end }}

{{- define "spire.bundle.key" -}}
bundle.{{ get (dict "pem" "crt" "spiffe" "spiffe" "jwks" "jwks") (include "spire.bundle.format" .) }}
{{- end }}

{{- /* The bundle endpoint as JSON: {} or {"address": …, "port": …}. */ -}}
{{- define "spire.endpoint" -}}
{{- $federation := (index .Values "spire-server").federation -}}
{{- $global := .Values.global.spire.bundleEndpoint | default dict -}}
{{- if or $federation.enabled $global -}}
{{- dict "address" ($global.address | default $federation.bundleEndpoint.address) "port" ($global.port | default $federation.bundleEndpoint.port | int) | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{- /* Host names that the OIDC provider is asked for from outside, as JSON. */ -}}
{{- define "spire.oidc.domains" -}}
{{- $config := (index .Values "spiffe-oidc-discovery-provider").config -}}
{{- concat $config.domains $config.additionalDomains | uniq | toJson -}}
{{- end }}

{{- define "spire.issuer" -}}
{{- $domains := include "spire.oidc.domains" . | fromJsonArray -}}
{{- $fallback := printf "oidc-discovery.%s" .Values.global.spire.trustDomain -}}
{{- $issuer := .Values.global.spire.jwtIssuer | default (index .Values "spire-server").jwtIssuer | default (index .Values "spiffe-oidc-discovery-provider").jwtIssuer -}}
{{- $issuer | default (printf "https://%s" (first $domains | default $fallback)) -}}
{{- end }}

{{- define "spire.identity.types" -}}
["base", "raw", "oidc-discovery-provider", "test-keys"]
{{- end }}

{{- define "spire.class" -}}
{{- (index .Values "spire-server").controllerManager.className | default (printf "%s-%s" .Release.Namespace .Release.Name) -}}
{{- end }}

{{- /* pvc or emptyDir. An installed StatefulSet decides: its volume claim templates cannot change. */ -}}
{{- define "spire.persistence" -}}
{{- $persistence := (index .Values "spire-server").persistence -}}
{{- $name := include "spire.name" (dict "root" . "component" "spire-server") -}}
{{- $live := lookup "apps/v1" "StatefulSet" .Release.Namespace $name -}}
{{- $class := $persistence.storageClass | default .Values.global.spire.persistence.storageClass -}}
{{- $again := printf "expand the volume claims by hand if need be, run kubectl delete statefulset %s --namespace %s --cascade=orphan and upgrade again" $name .Release.Namespace -}}
{{- if $live -}}
  {{- $claims := dig "spec" "volumeClaimTemplates" list $live -}}
  {{- $has := ternary "pvc" "emptyDir" (gt (len $claims) 0) -}}
  {{- if not (has $persistence.type (list "auto" $has)) -}}
    {{- fail (printf "spire-server.persistence.type: the installed server has %s, and a StatefulSet cannot change that; %s" $has $again) -}}
  {{- end -}}
  {{- if $claims -}}
    {{- $spec := (first $claims).spec -}}
    {{- if ne $spec.resources.requests.storage $persistence.size -}}
      {{- fail (printf "spire-server.persistence.size: the installed server has %s, and a StatefulSet cannot change that; %s" $spec.resources.requests.storage $again) -}}
    {{- end -}}
    {{- if and $class (ne $class ($spec.storageClassName | default "")) -}}
      {{- fail (printf "spire-server.persistence.storageClass: the installed server has %q, and a StatefulSet cannot change that; %s" ($spec.storageClassName | default "") $again) -}}
    {{- end -}}
  {{- end -}}
  {{- $has -}}
{{- else if ne $persistence.type "auto" -}}
  {{- $persistence.type -}}
{{- else if $class -}}
pvc
{{- else if not (lookup "v1" "Namespace" "" "kube-system") -}}
  {{- /* No cluster to ask (helm template): most have a default class. */ -}}
pvc
{{- else -}}
  {{- $found := "emptyDir" -}}
  {{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items -}}
    {{- $notes := .metadata.annotations | default dict -}}
    {{- if or (eq (get $notes "storageclass.kubernetes.io/is-default-class") "true") (eq (get $notes "storageclass.beta.kubernetes.io/is-default-class") "true") -}}
      {{- $found = "pvc" -}}
    {{- end -}}
  {{- end -}}
  {{- $found -}}
{{- end -}}
{{- end }}

{{- /* Name of the Secret with the upstream CA. */ -}}
{{- define "spire.upstream.secret" -}}
{{- $secret := (index .Values "spire-server").upstreamAuthority.disk.secret -}}
{{- if $secret.create -}}
{{- include "spire.name" (dict "root" . "component" "spire-server") }}-upstream-ca
{{- else -}}
{{- $secret.name -}}
{{- end -}}
{{- end }}

{{- define "spire.upstream.bundle" -}}
{{- $disk := (index .Values "spire-server").upstreamAuthority.disk -}}
{{- $disk.bundle | default (ternary (printf "%s/bundle.crt" (dir $disk.cert)) "" (ne $disk.secret.data.bundle "")) -}}
{{- end }}

{{- define "spire.agent.address" -}}
{{- $server := (index .Values "spire-agent").server -}}
{{- if $server.address -}}
{{- $server.address -}}
{{- else -}}
{{- $name := ternary (printf "%s-%s" .Release.Name $server.nameOverride) (include "spire.name" (dict "root" . "component" "spire-server")) (ne $server.nameOverride "") -}}
{{- printf "%s.%s" $name ($server.namespaceOverride | default .Release.Namespace) -}}
{{- end -}}
{{- end }}

{{- define "spire.agent.hostnetwork" -}}
{{- $agent := index .Values "spire-agent" -}}
{{- if has ($agent.hostNetwork | toString) (list "auto" "") -}}
{{- eq $agent.kubeletAddress.mode "localhost" -}}
{{- else -}}
{{- $agent.hostNetwork | toString -}}
{{- end -}}
{{- end }}

{{- /* true where a kubelet is older than 1.33, which knows nodes/pods, or the cluster cannot be asked. */ -}}
{{- define "spire.agent.nodesproxy" -}}
{{- $wanted := (index .Values "spire-agent").rbac.nodesProxy | toString -}}
{{- if ne $wanted "auto" -}}
{{- $wanted -}}
{{- else -}}
  {{- $nodes := (lookup "v1" "Node" "" "").items -}}
  {{- $old := not $nodes -}}
  {{- range $nodes -}}
    {{- $old = or $old (semverCompare "<1.33.0-0" (dig "status" "nodeInfo" "kubeletVersion" "v1.0.0" .)) -}}
  {{- end -}}
  {{- $old -}}
{{- end -}}
{{- end }}

{{- define "spire.metrics" -}}
{{- $recommended := .root.Values.global.spire.recommendations -}}
{{- $prometheus := (index .root.Values .component).telemetry.prometheus -}}
{{- if or $prometheus.enabled (and $recommended.enabled $recommended.prometheus) -}}
{{- int $prometheus.port -}}
{{- end -}}
{{- end }}
