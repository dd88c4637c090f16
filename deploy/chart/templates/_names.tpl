{{- define "nos.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "nos.agentNamespace" -}}
{{ .Values.gpuPartitioner.migAgent.namespace | default .Release.Namespace }}
{{- end }}

{{- /* Whether a part of scaling is switched on: (list . "karpenter"). One that is switched on without settings is {}. */}}
{{- define "nos.scales" -}}
{{- $root := index . 0 }}
{{- if kindIs "map" (dig "scaling" (index . 1) "" $root.Values.scheduler.config) }}true{{ end }}
{{- end }}

{{- /* The controller's settings: the user's over those that a Pod needs. */}}
{{- define "nos.config" -}}
{{- $config := dict "healthAddress" "0.0.0.0:10257" "logFormat" "json" }}
{{- $_ := set $config "leaderElection" (dict "namespace" .Release.Namespace) }}
{{- if .Values.metrics.secure }}
{{- $metrics := dict "address" "0.0.0.0:10259" }}
{{- with .Values.metrics.tlsSecretName }}
{{- $metrics = merge $metrics (dict "certFile" "/etc/nos/metrics/tls.crt" "keyFile" "/etc/nos/metrics/tls.key") }}
{{- end }}
{{- $_ := set $config "metrics" $metrics }}
{{- end }}
{{- if .Values.dashboard.enabled }}
{{- $dashboard := dict "address" "0.0.0.0:10258" }}
{{- with .Values.dashboard.tlsSecretName }}
{{- $dashboard = merge $dashboard (dict "certFile" "/etc/nos/dashboard/tls.crt" "keyFile" "/etc/nos/dashboard/tls.key") }}
{{- end }}
{{- $_ := set $config "dashboard" $dashboard }}
{{- end }}
{{- mergeOverwrite $config (deepCopy .Values.scheduler.config) | toYaml }}
{{- end }}

{{- /* The name of the port that has the metrics. */}}
{{- define "nos.metricsPort" -}}
{{ ternary "metrics" "health" .Values.metrics.secure }}
{{- end }}

{{- /* How Prometheus asks for them: (dict "root" . "service" NAME "namespace" NAMESPACE). */}}
{{- define "nos.scrape" -}}
- port: {{ include "nos.metricsPort" .root }}
  path: /metrics
  {{- if .root.Values.metrics.secure }}
  scheme: https
  bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
  tlsConfig:
    {{- with .root.Values.metrics.tlsSecretName }}
    ca:
      secret: {name: {{ . }}, key: ca.crt}
    serverName: {{ $.service }}.{{ $.namespace }}.svc
    {{- else }}
    insecureSkipVerify: true
    {{- end }}
  {{- end }}
{{- end }}

{{- /* What a manifest cannot say, and a schema neither. */}}
{{- define "nos.check" -}}
{{- if and (eq .Release.Namespace "default") (not .Values.allowDefaultNamespace) }}
{{- fail "nos has a namespace of its own: install with --namespace nebuly-nos --create-namespace, or set allowDefaultNamespace" }}
{{- end }}
{{- if and .Values.dashboard.enabled (not .Values.dashboard.tlsSecretName) (not (dig "dashboard" "allowInsecure" false .Values.scheduler.config)) }}
{{- fail "dashboard.enabled: tokens are sent to it: name a TLS Secret in dashboard.tlsSecretName, or set scheduler.config.dashboard.allowInsecure where something before it has TLS" }}
{{- end }}
{{- if and .Values.gpuTaint.enabled (semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "gpuTaint.enabled: Kubernetes %s has no MutatingAdmissionPolicy, 1.36 has: taint GPU nodes where they are made, and write the toleration into Pods" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if and (gt (int .Values.scheduler.replicaCount) 1) (not (dig "leaderElection" "enabled" true .Values.scheduler.config)) }}
{{- fail "scheduler.config.leaderElection.enabled: of several replicas one has to lead: set scheduler.replicaCount to 1, or leave the election on" }}
{{- end }}
{{- end }}

{{- /* The values given that only the old nos knew, one a line. The schema lets them pass. */}}
{{- define "nos.meaningless" -}}
{{- range $section, $names := fromYaml (include "nos.old" .) }}
{{- $values := $.Values }}
{{- range $part := without (splitList "." $section) "" }}
{{- $values = get $values $part }}
{{- end }}
{{- range $names }}
{{- if hasKey $values . }}
{{ list $section . | join "." | trimPrefix "." }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nos.old" -}}
"": [operator, shareTelemetry, nvidiaGpuResourceMemoryGB]
scheduler:
  - enabled
  - image
  - logLevel
  - nameOverride
  - fullnameOverride
  - leaderElection
  - podSecurityContext
  - securityContext
gpuPartitioner:
  - image
  - logLevel
  - nameOverride
  - fullnameOverride
  - replicaCount
  - leaderElection
  - podSecurityContext
  - securityContext
  - resources
  - podAnnotations
  - tolerations
  - affinity
  - nodeSelector
  - kubeRbacProxy
  - scheduler
  - devicePlugin
  - batchWindowTimeoutSeconds
  - batchWindowIdleSeconds
  - knownMigGeometries
  - gpuAgent
gpuPartitioner.migAgent:
  - image
  - logLevel
  - nameOverride
  - fullnameOverride
  - podSecurityContext
  - securityContext
  - reportConfigIntervalSeconds
{{- end }}
