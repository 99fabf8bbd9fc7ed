{{- /* SPDX-License-Identifier: Apache-2.0

Names, labels, images and what all pods have in common.

Most of these take (dict "root" $ "component" "spire-server"): the component is the block of the values, and
the name of its objects unless an override says otherwise. */ -}}

{{- define "spire.name" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.fullnameOverride -}}
{{- $values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if $values.nameOverride -}}
{{- printf "%s-%s" .root.Release.Name $values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- .component -}}
{{- end -}}
{{- end }}

{{- define "spire.serviceaccount" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- $account.name | default (ternary (include "spire.name" .) "default" $account.create) -}}
{{- end }}

{{- define "spire.selector" -}}
app: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "spire.labels" -}}
{{ include "spire.selector" . }}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: spire
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "spire.serviceaccount.object" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "spire.serviceaccount" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "spire.labels" . | nindent 4 }}
  {{- with $account.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{- /* image: (dict "root" $ "image" VALUES) */ -}}
{{- define "spire.image" -}}
{{- $global := .root.Values.global.spire.image -}}
{{- $registry := $global.registry | default .image.registry -}}
{{- $tag := .image.tag | toString | default ($global.tag | toString) | default .root.Chart.AppVersion -}}
image: {{ printf "%s%s:%s" (ternary (printf "%s/" $registry) "" (ne $registry "")) .image.repository $tag }}
imagePullPolicy: {{ $global.pullPolicy | default .image.pullPolicy }}
{{- end }}

{{- /* What stands in every pod template's metadata, beside labels: (dict "root" $ "component" C "checksums" LIST "metrics" PORT-OR-0) */ -}}
{{- define "spire.pod.metadata" -}}
{{- $values := index .root.Values .component -}}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  checksum/config: {{ .config | sha256sum }}
  {{- if .metrics }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .metrics | quote }}
  prometheus.io/path: /metrics
  {{- end }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "spire.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "spire.pod.scheduling" -}}
{{- $values := index .root.Values .component -}}
{{- $recommended := .root.Values.global.spire.recommendations -}}
serviceAccountName: {{ include "spire.serviceaccount" . }}
terminationGracePeriodSeconds: {{ int $values.terminationGracePeriodSeconds }}
{{- with $values.imagePullSecrets | default .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName | default (and $recommended.enabled $recommended.priorityClassName | ternary .priority "") }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The pod standard "restricted", for a pod and for a container; (dict "over" VALUES) is laid over. */ -}}
{{- define "spire.restricted.pod" -}}
{{- $own := dict "runAsNonRoot" true "runAsUser" 1000 "runAsGroup" 1000 "fsGroup" 1000 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
securityContext:
  {{- mergeOverwrite $own (deepCopy .over) | toYaml | nindent 2 }}
{{- end }}

{{- define "spire.restricted.container" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
securityContext:
  {{- mergeOverwrite $own (deepCopy .over) | toYaml | nindent 2 }}
{{- end }}

{{- /* (dict "values" VALUES "port" NAME "live" PATH "ready" PATH) */ -}}
{{- define "spire.probes" -}}
{{- $probe := . -}}
{{- range $kind, $path := dict "startupProbe" .live "livenessProbe" .live "readinessProbe" .ready }}
{{ $kind }}:
  httpGet:
    path: {{ $path }}
    port: {{ $probe.port }}
  {{- range $key, $number := index $probe.values $kind }}
  {{ $key }}: {{ int $number }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "spire.update" -}}
{{- $update := (index .root.Values .component).updateStrategy -}}
updateStrategy:
  type: {{ $update.type }}
  {{- if eq $update.type "RollingUpdate" }}
  rollingUpdate:
    maxUnavailable: {{ $update.rollingUpdate.maxUnavailable }}
  {{- end }}
{{- end }}

{{- define "spire.disruption" -}}
{{- $budget := (index .root.Values .component).podDisruptionBudget -}}
{{- if $budget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "spire.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "spire.labels" . | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "spire.selector" . | nindent 6 }}
  {{- if ne ($budget.minAvailable | toString) "" }}
  minAvailable: {{ $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $budget.maxUnavailable | toString | default "1" }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "spire.podmonitor" -}}
{{- $prometheus := (index .root.Values .component).telemetry.prometheus -}}
{{- if and $prometheus.enabled $prometheus.podMonitor.enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "spire.name" . }}
  namespace: {{ $prometheus.podMonitor.namespace | default .root.Release.Namespace }}
  labels:
    {{- include "spire.labels" . | nindent 4 }}
    {{- with $prometheus.podMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  namespaceSelector:
    matchNames: [{{ .root.Release.Namespace }}]
  selector:
    matchLabels:
      {{- include "spire.selector" . | nindent 6 }}
  podMetricsEndpoints:
  {{- range .ports }}
  - port: {{ . }}
    path: /metrics
  {{- end }}
{{- end }}
{{- end }}
