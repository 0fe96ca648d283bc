{{/* Names and labels. Those of one service take a dict of root ($) and service (its name). */}}

{{- define "vigie.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vigie.name" -}}
{{ include "vigie.fullname" .root }}-{{ .service }}
{{- end -}}

{{/* The headless Service, in which instances also stand that are not ready: who looks on wants to hear why. */}}
{{- define "vigie.headless" -}}
{{ include "vigie.name" . }}-instances
{{- end -}}

{{- define "vigie.port" -}}
{{- get (dict "commande" "3001" "suivi" "3002" "analyseur" "3003" "paiement" "3004" "sentinelle" "3005") . -}}
{{- end -}}

{{- define "vigie.scheme" -}}
{{ ternary "https" "http" (ne .Values.http.tls.secret "") }}
{{- end -}}

{{- define "vigie.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "vigie.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "vigie.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end -}}

{{- define "vigie.commonSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vigie.commonLabels" -}}
{{ include "vigie.commonSelector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "vigie.selector" -}}
{{ include "vigie.commonSelector" .root }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{- define "vigie.labels" -}}
{{ include "vigie.commonLabels" .root }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{/* Whether sentinelle follows the bank's orders: on or off. */}}
{{- define "vigie.bank" -}}
{{- .Values.sentinelle.bank | default (ternary "on" "off" (gt (len (without .Values.services "sentinelle")) 0)) -}}
{{- end -}}

{{/* Whether a service keeps its state on a volume: "true" or nothing. */}}
{{- define "vigie.hasVolume" -}}
{{- if not .root.Values.database.url.secret -}}
{{- if or (ne .service "sentinelle") (eq (include "vigie.bank" .root) "on") -}}true{{- end -}}
{{- end -}}
{{- end -}}
